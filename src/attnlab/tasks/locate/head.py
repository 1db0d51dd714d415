"""`Locator`: answers with boxes in a picture; and which of them belongs to which gold box."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from attnlab.attention.mask import Mask
from attnlab.attention.taps import Tap
from attnlab.config.attention import AttentionConfig
from attnlab.data.batch import Batch
from attnlab.models.builder import ModelBuilder, Queries
from attnlab.models.memory import Memory
from attnlab.tasks.task import HeadContext

LARGEST_OFFSET = 0.25  # of the picture: from the mean attended position to the box's middle

NEVER = 1e6  # in place of a cost that is no number: an assignment of such is refused


class Locator(nn.Module):
    """Answers with a set of boxes: each query predicts one (DETR, Carion et al. 2020).

    The middle of a box is the mean position that its query attended to, plus an offset that depends
    on the context (as in Conditional DETR, Meng et al. 2021, where it is the query's own position).
    Queries are learned; or each patch is one, which makes it a grid of answers (YOLO, Redmon et al.
    2016), one without attention if a patch may attend to itself alone.
    """

    def __init__(
        self, context: HeadContext, classes: int, *, queries: int | Literal["cells"], rounds: int
    ) -> None:
        super().__init__()
        builder, attention = context.builder, context.attention
        self.reader, self.picture = context.reader, context.picture()
        width = builder.dim
        self.queries = None if queries == "cells" else Queries(queries, width)
        self.rounds = nn.ModuleList(Round(builder, attention, n) for n in range(rounds))
        self.norm = nn.LayerNorm(width)
        self.shape = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, 4))
        self.kind = nn.Linear(width, classes + 1)  # the last is none

    def forward(self, batch: Batch) -> Tensor:
        """batch x queries x (left, top, right, bottom, then scores of the classes and of none).

        Edges are shares of the picture's width and height.
        """
        reading = self.reader(batch)
        memory = reading.memory
        states = memory.values if self.queries is None else self.queries(reading.query_seed)
        with Tap(self, "decoder.cross.-1") as tap:
            for each in self.rounds:
                states = each(states, memory)  # batch x queries x dim
        weights = tap.weights().mean(1)  # batch x queries x patches
        attended = weights @ centres(memory.grid, memory.values).to(weights)  # batch x queries x 2
        states = self.norm(states)
        offset, size = self.shape(states).split(2, -1)  # each batch x queries x 2
        middle = attended.to(offset) + LARGEST_OFFSET * offset.tanh()
        size = size.sigmoid()
        return torch.cat([middle - size / 2, middle + size / 2, self.kind(states)], -1)

    @torch.no_grad()
    def answer(self, batch: Batch) -> Tensor:
        """batch x queries x 6: box in pixels, its likeliest class and the confidence in it."""
        edges, kinds = self(batch).tensor_split([4], -1)
        size = edges.new_tensor([self.picture.width, self.picture.height]).repeat(2)
        confidence, kind = kinds.softmax(-1)[..., :-1].max(-1)
        return torch.cat([edges * size, kind[..., None], confidence[..., None]], -1)


class Round(nn.Module):
    """Queries attend to one another, except in the first round, and then to the picture."""

    def __init__(self, builder: ModelBuilder, attention: AttentionConfig, number: int) -> None:
        super().__init__()
        width = builder.dim
        site = f"decoder.self.{number}"
        self.self_attention = builder.attention(attention, site) if number else None
        self.cross_attention = builder.attention(attention, f"decoder.cross.{number}")
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))

    def forward(self, states: Tensor, memory: Memory) -> Tensor:
        """States of the queries, batch x queries x dim."""
        if self.self_attention is not None:
            normed = self.norms[0](states)
            states = states + self.self_attention(normed, normed, normed, Mask())
        query = self.norms[1](states)
        keys = memory.values
        states = states + self.cross_attention(query, keys, keys, memory.visible())
        return states + self.mlp(self.norms[2](states))


def centres(grid: tuple[int, int] | None, like: Tensor) -> Tensor:
    """The middle of each patch, from 0 to 1, across and down: patches x 2."""
    assert grid is not None
    down, across = ((torch.arange(n).to(like) + 0.5) / n for n in grid)
    return torch.stack(torch.broadcast_tensors(across[None, :], down[:, None]), -1).flatten(0, 1)


def best_matching(costs: Tensor, real: Tensor) -> Tensor:
    """The matching of predictions and gold of least total cost (Kuhn 1955), as an order.

    Args:
        costs: batch x predictions x gold.
        real: batch x gold, bool: which gold is real. Real gold comes first, and there is no more of
            it than there are predictions.

    Returns:
        The numbers of the predictions, batch x predictions: the n-th belongs to the n-th gold;
        those without gold come last.
    """
    tables = torch.nan_to_num(costs.detach().double(), NEVER, NEVER, -NEVER).cpu().numpy()
    orders = []
    for table, count in zip(tables, real.sum(1).tolist(), strict=True):
        predictions, gold = linear_sum_assignment(table[:, :count])
        matched = predictions[np.argsort(gold)]
        others = np.setdiff1d(np.arange(len(table)), matched)
        orders.append(np.concatenate([matched, others]))
    return torch.from_numpy(np.stack(orders)).to(costs.device)


def generalised_iou(one: Tensor, other: Tensor) -> Tensor:
    """IoU less the share of the box round both that neither fills (Rezatofighi et al. 2019).

    Pairs of boxes, ... x 4 (left, top, right, bottom); from -1 to 1, with a gradient even where
    they do not meet.
    """
    low, high = (
        torch.maximum(one[..., :2], other[..., :2]),
        torch.minimum(one[..., 2:], other[..., 2:]),
    )
    shared = (high - low).clamp_min(0).prod(-1)
    union = _area(one) + _area(other) - shared
    around = torch.maximum(one[..., 2:], other[..., 2:]) - torch.minimum(
        one[..., :2], other[..., :2]
    )
    hull = around.prod(-1).clamp_min(1e-9)
    return shared / union.clamp_min(1e-9) - (hull - union) / hull


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2:] - boxes[..., :2]).clamp_min(0).prod(-1)
