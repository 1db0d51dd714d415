"""Logits that know what was looked at before."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from attnlab.attention.parts import Past, Shape, Structure


class Coverage(Structure):
    """Adds w times the sum of earlier maps to the logits, w learned for each map (Tu et al. 2016,
    "Modeling Coverage for NMT"; See, Liu, Manning 2017, "Get To The Point")."""

    recurrent = True

    def __init__(self, shape: Shape, *, initial: float) -> None:
        super().__init__(shape)
        self.weight = nn.Parameter(torch.full((shape.maps, 1, 1), initial))

    def step_bias(self, past: Past) -> Tensor:
        total = past.total.unsqueeze(2)  # batch x maps x 1 x keys
        return self.weight.to(total.dtype) * total


def coverage_loss(weights: Tensor) -> Tensor:
    """batch x heads x queries: the mass put where earlier queries had put it (See et al. 2017,
    equation 12), from weights batch x heads x queries x keys."""
    earlier = weights.cumsum(2) - weights
    return torch.minimum(weights, earlier).sum(-1)
