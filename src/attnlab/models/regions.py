"""Heads that answer with places in a picture: boxes, or a class for every pixel."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attnlab.attention.probes import Tap
from attnlab.config.attention import AttentionConfig
from attnlab.data.batch import Batch
from attnlab.data.inputs import Picture
from attnlab.models.heads import Pooling
from attnlab.models.parts import Parts, Queries
from attnlab.models.reader import Reader

MOST_ASIDE = 0.25  # of the picture: from where a query looked to the middle of its box


class Locator(nn.Module):
    """Answers with boxes in order: the n-th query looks for the n-th thing.

    The queries are those of DETR (Carion et al. 2020), but each has its place in the order of
    gold, so that nothing needs matching. Where a query looked is the middle of its box, but for a
    step aside that depends on what it saw there.
    """

    def __init__(
        self,
        reader: Reader,
        parts: Parts,
        attention: AttentionConfig,
        picture: Picture,
        slots: int,
        classes: int,
    ) -> None:
        super().__init__()
        self.reader, self.picture = reader, picture
        self.queries = Queries(slots, parts.dim)
        self.attention = parts.attention(attention, "decoder.cross.0")
        width = parts.dim
        self.shape = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, 4))
        self.kind = nn.Linear(width, classes + 1)  # the last is none

    def forward(self, batch: Batch) -> Tensor:
        """batch x slots x (left, top, right, bottom, then scores of the classes and of none).

        Edges are in parts of the picture's width and height.
        """
        reading = self.reader(batch)
        memory = reading.memory
        queries = self.queries(reading.asks)  # batch x slots x dim
        with Tap(self, "decoder.cross.0") as tap:
            found = self.attention(queries, memory.values, memory.values, memory.visible())
        weights = tap.weights().mean(1)  # batch x slots x cells
        looked = weights @ centres(memory.grid, memory.values).to(weights)  # batch x slots x 2
        aside, size = self.shape(found).split(2, -1)  # each batch x slots x 2
        middle, size = looked.to(aside) + MOST_ASIDE * aside.tanh(), size.sigmoid()
        return torch.cat([middle - size / 2, middle + size / 2, self.kind(found)], -1)

    @torch.no_grad()
    def answer(self, batch: Batch) -> Tensor:
        """batch x slots x 6: box in pixels, its class (-1: none) and how sure that is."""
        edges, kinds = self(batch).tensor_split([4], -1)
        size = edges.new_tensor([self.picture.width, self.picture.height]).repeat(2)
        chances = kinds.softmax(-1)
        none = kinds.shape[-1] - 1
        best = chances.argmax(-1)
        sure, kind = chances[..., :-1].max(-1)
        kind = torch.where(best == none, -1, kind)
        return torch.cat([edges * size, kind[..., None], sure[..., None]], -1)


class Segmenter(nn.Module):
    """Answers with a class for each pixel: every cell's own, given what the picture shows."""

    def __init__(
        self,
        reader: Reader,
        parts: Parts,
        attention: AttentionConfig,
        picture: Picture,
        classes: int,
    ) -> None:
        super().__init__()
        self.reader, self.picture, self.stride = reader, picture, parts.image.stride
        self.pooling = Pooling(parts, attention)
        self.output = nn.Sequential(
            nn.Linear(2 * parts.dim, 2 * parts.dim),
            nn.GELU(),
            nn.Linear(2 * parts.dim, classes * self.stride**2),
        )

    def forward(self, batch: Batch) -> Tensor:
        """Scores of the classes: batch x classes x height x width."""
        reading = self.reader(batch)
        memory = reading.memory
        context = self.pooling(memory, reading.asks)  # batch x 1 x dim
        both = torch.cat([memory.values, context.expand_as(memory.values)], -1)
        scores = self.output(both).transpose(1, 2)  # batch x classes * stride^2 x cells
        assert memory.grid is not None
        pixels = F.pixel_shuffle(scores.unflatten(-1, memory.grid), self.stride)
        return pixels[..., : self.picture.height, : self.picture.width]

    @torch.no_grad()
    def answer(self, batch: Batch) -> Tensor:
        """The most likely class of each pixel: batch x height x width."""
        return self(batch).argmax(1)


def centres(grid: tuple[int, int] | None, like: Tensor) -> Tensor:
    """The middle of each cell, from 0 to 1, across and down: cells x 2."""
    assert grid is not None
    down, across = ((torch.arange(n).to(like) + 0.5) / n for n in grid)
    return torch.stack(torch.broadcast_tensors(across[None, :], down[:, None]), -1).flatten(0, 1)
