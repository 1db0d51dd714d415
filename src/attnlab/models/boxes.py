"""The head that answers with boxes in a picture."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from attnlab.attention.mask import Mask
from attnlab.attention.probes import Tap
from attnlab.config.attention import AttentionConfig
from attnlab.data.batch import Batch
from attnlab.data.inputs import Picture
from attnlab.models.builder import ModelBuilder, Queries
from attnlab.models.memory import Memory
from attnlab.models.reader import Reader

MOST_ASIDE = 0.25  # of the picture: from where a query looked to the middle of its box


class Locator(nn.Module):
    """Answers with a set of boxes: each query looks for one thing (DETR, Carion et al. 2020).

    Where a query looked is the middle of its box, but for a step aside that depends on what it saw
    there (as in Conditional DETR, Meng et al. 2021, where the place of the query itself is it).
    Queries are learned; or each cell is one, which makes it a grid of answers (YOLO, Redmon et al.
    2016), one without attention if a cell may look at itself alone.
    """

    def __init__(
        self,
        reader: Reader,
        builder: ModelBuilder,
        attention: AttentionConfig,
        picture: Picture,
        classes: int,
        settings: QuerySettings,
    ) -> None:
        super().__init__()
        self.reader, self.picture = reader, picture
        width = builder.dim
        self.queries = None if settings.queries == "cells" else Queries(settings.queries, width)
        self.rounds = nn.ModuleList(Round(builder, attention, n) for n in range(settings.rounds))
        self.norm = nn.LayerNorm(width)
        self.shape = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, 4))
        self.kind = nn.Linear(width, classes + 1)  # the last is none

    def forward(self, batch: Batch) -> Tensor:
        """batch x queries x (left, top, right, bottom, then scores of the classes and of none).

        Edges are in parts of the picture's width and height.
        """
        reading = self.reader(batch)
        memory = reading.memory
        states = memory.values if self.queries is None else self.queries(reading.query_seed)
        with Tap(self, "decoder.cross.-1") as tap:
            for each in self.rounds:
                states = each(states, memory)  # batch x queries x dim
        weights = tap.weights().mean(1)  # batch x queries x cells
        looked = weights @ centres(memory.grid, memory.values).to(weights)  # batch x queries x 2
        found = self.norm(states)
        aside, size = self.shape(found).split(2, -1)  # each batch x queries x 2
        middle, size = looked.to(aside) + MOST_ASIDE * aside.tanh(), size.sigmoid()
        return torch.cat([middle - size / 2, middle + size / 2, self.kind(found)], -1)

    @torch.no_grad()
    def answer(self, batch: Batch) -> Tensor:
        """batch x queries x 6: box in pixels, its likeliest class and how likely that is."""
        edges, kinds = self(batch).tensor_split([4], -1)
        size = edges.new_tensor([self.picture.width, self.picture.height]).repeat(2)
        sure, kind = kinds.softmax(-1)[..., :-1].max(-1)
        return torch.cat([edges * size, kind[..., None], sure[..., None]], -1)


class QuerySettings(NamedTuple):
    """How many queries a locator has, and how many rounds."""

    queries: int | Literal["cells"]
    rounds: int


class Round(nn.Module):
    """Queries look at the picture; before that, but for the first time, at one another."""

    def __init__(self, builder: ModelBuilder, attention: AttentionConfig, number: int) -> None:
        super().__init__()
        width = builder.dim
        self.told = builder.attention(attention, f"decoder.self.{number}") if number else None
        self.look = builder.attention(attention, f"decoder.cross.{number}")
        self.think = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))

    def forward(self, states: Tensor, memory: Memory) -> Tensor:
        """States of the queries, batch x queries x dim."""
        if self.told is not None:
            known = self.norms[0](states)
            states = states + self.told(known, known, known, Mask())
        asked = self.norms[1](states)
        states = states + self.look(asked, memory.values, memory.values, memory.visible())
        return states + self.think(self.norms[2](states))


def centres(grid: tuple[int, int] | None, like: Tensor) -> Tensor:
    """The middle of each cell, from 0 to 1, across and down: cells x 2."""
    assert grid is not None
    down, across = ((torch.arange(n).to(like) + 0.5) / n for n in grid)
    return torch.stack(torch.broadcast_tensors(across[None, :], down[:, None]), -1).flatten(0, 1)
