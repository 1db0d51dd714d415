"""Scores that go by where a key stands, or by where earlier queries looked."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from attnlab.attention.parts import Past, Score, Shape, per_map
from attnlab.attention.scores.additive import Additive
from attnlab.errors import UserError


class Uniform(Score):
    """The same for every key: mean pooling, and the control that knows nothing."""

    form = "blind"

    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        batch, maps, queries, _ = query.shape
        return query.new_zeros(batch, maps, queries, key.shape[2])


class Location(Score):
    """W q, one logit for each position, blind to the keys (Luong, Pham, Manning 2015)."""

    form = "blind"

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        weight = torch.randn(shape.maps, shape.query_width, shape.max_length)
        self.weight = nn.Parameter(weight / math.sqrt(shape.query_width))

    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        keys = key.shape[2]
        if keys > self.shape.max_length:
            raise UserError(
                f"attention/score=location has logits for {self.shape.max_length} positions, "
                f"the input has {keys}"
            )
        return per_map(query, self.weight[:, :, :keys])  # batch x maps x queries x keys


class LocationAware(Additive):
    """w.tanh(Wq + Uk + V f + b), f what a convolution finds in earlier maps (Chorowski et al.
    2015, "Attention-Based Models for Speech Recognition")."""

    form = "recurrent"
    recurrent = True

    def __init__(
        self,
        shape: Shape,
        *,
        hidden: int | None,
        filters: int,
        kernel_size: int,
        cumulative: bool,
    ) -> None:
        super().__init__(shape, hidden=hidden)
        self.cumulative = cumulative
        self.filters = nn.Conv1d(1, filters, kernel_size, padding="same", bias=False)
        width = self.energy.shape[1]
        bound = math.sqrt(6 / (filters + width))
        weight = torch.empty(shape.maps, filters, width).uniform_(-bound, bound)
        self.location_weight = nn.Parameter(weight)

    def step(self, query: Tensor, key: Tensor, past: Past) -> Tensor:
        earlier = past.total if self.cumulative else past.previous  # batch x maps x keys
        flat = earlier.flatten(0, 1).unsqueeze(1).to(self.filters.weight.dtype)
        found = self.filters(flat).transpose(1, 2)  # batch * maps x keys x filters
        found = found.unflatten(0, earlier.shape[:2]).to(key.dtype)
        return self(query, key + per_map(found, self.location_weight))
