"""Structures that change logits or weights: coverage, and windows that the query predicts."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from attnlab.attention.call import Call
from attnlab.attention.normalizers.soft import mask_log_weights
from attnlab.attention.parts import (
    Normalize,
    Normalizer,
    Past,
    Shape,
    Structure,
    at_least_fp32,
    project_maps,
)


class Coverage(Structure):
    """Adds w times the sum of earlier maps to the logits, w learned for each map (Tu et al. 2016,
    "Modeling Coverage for NMT"; See, Liu, Manning 2017, "Get To The Point")."""

    def __init__(self, shape: Shape, *, initial: float) -> None:
        super().__init__(shape)
        self.weight = nn.Parameter(torch.full((shape.maps, 1, 1), initial))

    def step_bias(self, past: Past) -> Tensor:
        total = past.total.unsqueeze(2)  # batch x maps x 1 x keys
        return self.weight.to(total.dtype) * total


class LocalP(Structure):
    """p = S sigmoid(v.tanh(Wq)) of S keys; weights within `width` of p, times
    exp(-(j - p)^2 / 2 sigma^2) with sigma = width / 2 (Luong, Pham, Manning 2015, local-p).

    As in the paper weights are not normalized again: a row sums to at most one.
    """

    def __init__(self, shape: Shape, *, width: int) -> None:
        super().__init__(shape)
        self.width = width
        size = shape.query_width
        self.hidden = nn.Parameter(torch.randn(shape.maps, size, size) / math.sqrt(size))
        self.center = nn.Parameter(torch.randn(shape.maps, size, 1) / math.sqrt(size))

    def weights(self, call: Call, logits: Tensor, normalize: Normalize) -> Tensor:
        apart = self._apart(call)
        return normalize(logits, self._near(call, apart)) * self._log_factor(apart).exp()

    def log_weights(self, call: Call, logits: Tensor, normalizer: Normalizer) -> Tensor:
        apart = self._apart(call)
        near = self._near(call, apart)
        return mask_log_weights(normalizer.log(logits, near) + self._log_factor(apart), near)

    def _apart(self, call: Call) -> Tensor:
        """batch x maps x queries x keys: how far each key is from the predicted position."""
        heads = at_least_fp32(call.query_heads)
        hidden = torch.tanh(project_maps(heads, self.hidden))
        share = torch.sigmoid(project_maps(hidden, self.center))  # batch x maps x queries x 1
        valid = call.mask.keys
        length = call.keys if valid is None else valid.sum(1)[:, None, None, None]
        keys = torch.arange(call.keys, device=heads.device)
        return keys - share * length

    def _near(self, call: Call, apart: Tensor) -> Tensor:
        near = apart.detach().abs() <= self.width
        return near if call.allowed is None else near & call.allowed

    def _log_factor(self, apart: Tensor) -> Tensor:
        return -apart.square() / (2 * (self.width / 2) ** 2)
