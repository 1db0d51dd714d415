"""Scores by the positions of keys, by earlier maps, or by an image as a whole."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attnlab.attention.mask import Mask
from attnlab.attention.parts import Past, Score, Shape, project_maps
from attnlab.attention.scores.additive import Additive
from attnlab.errors import UserError


class Uniform(Score):
    """The same for every key: mean pooling, and the uninformed control."""

    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        batch, maps, queries, _ = query.shape
        return query.new_zeros(batch, maps, queries, key.shape[2])


class Location(Score):
    """W q, one logit for each position, independent of the keys (Luong, Pham, Manning 2015)."""

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
        return project_maps(query, self.weight[:, :, :keys])  # batch x maps x queries x keys


class LocationAware(Additive):
    """w.tanh(Wq + Uk + V f + b), f the features of a convolution over earlier maps (Chorowski
    et al. 2015, "Attention-Based Models for Speech Recognition")."""

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
        features = self.filters(flat).transpose(1, 2)  # batch * maps x keys x filters
        features = features.unflatten(0, earlier.shape[:2]).to(key.dtype)
        return self(query, key + project_maps(features, self.location_weight))


class Spatial(Score):
    """A convolution over the mean and maximum of each cell's channels (Woo et al. 2018, "CBAM",
    the spatial half). Cells form `mask.grid`, or one row where the mask names no grid."""

    def __init__(self, shape: Shape, *, kernel_size: int) -> None:
        super().__init__(shape)
        self.convolution = nn.Conv2d(2, 1, kernel_size, padding="same", bias=False)

    def prepare_key(self, key: Tensor, mask: Mask) -> Tensor:
        """batch x key_maps x keys x width -> batch x key_maps x keys x 1."""
        if mask.keys is not None:
            key = key.masked_fill(~mask.keys[:, None, :, None], 0)
        pooled = torch.stack([key.mean(-1), key.amax(-1)], dim=2)  # batch x maps x 2 x keys
        image = pooled.unflatten(-1, mask.grid or (1, key.shape[2])).flatten(0, 1)
        weight = self.convolution.weight.to(key.dtype)
        logits = F.conv2d(image, weight, padding="same")  # batch * maps x 1 x height x width
        return logits.flatten(1).unflatten(0, key.shape[:2]).unsqueeze(-1)

    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        return key.transpose(-1, -2).expand(-1, -1, query.shape[2], -1)
