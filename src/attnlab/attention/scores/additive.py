"""Additive scores: a hidden layer joins query and key.

W q and U k depend on one side alone and are prepared (and cached) per side; what is left,
w.tanh(q' + k'), is the part that is quadratic and that `kernels.additive` computes without the
queries x keys x hidden tensor.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from attnlab.attention.mask import Mask
from attnlab.attention.parts import Score, Shape, project_maps


class Additive(Score):
    """w.tanh(Wq + Uk + b) (Bahdanau, Cho, Bengio 2015, "Neural Machine Translation by Jointly
    Learning to Align and Translate")."""

    def __init__(self, shape: Shape, *, hidden: int | None) -> None:
        super().__init__(shape)
        width = hidden or shape.key_width
        self.query_weight = _glorot(shape.maps, shape.query_width, width)
        self.key_weight = _glorot(shape.key_maps, shape.key_width, width)
        self.bias = nn.Parameter(torch.zeros(shape.key_maps, 1, width))
        self.energy = _glorot(shape.maps, width, 1)

    def prepare_query(self, query: Tensor) -> Tensor:
        return project_maps(query, self.query_weight)  # batch x maps x queries x hidden

    def prepare_key(self, key: Tensor, mask: Mask) -> Tensor:
        bias = self.bias.to(key.dtype)
        return project_maps(key, self.key_weight) + bias  # batch x key_maps x keys x hidden

    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        joined = torch.tanh(
            query.unsqueeze(3) + key.unsqueeze(2)
        )  # b x m x queries x keys x hidden
        energy = self.energy.to(query.dtype).unsqueeze(1)  # maps x 1 x hidden x 1
        return (joined @ energy).squeeze(-1)  # batch x maps x queries x keys


class Concat(Additive):
    """w.tanh(W[q; k]) (Luong, Pham, Manning 2015): additive without bias, with
    one matrix initialized for both sides."""

    def __init__(self, shape: Shape, *, hidden: int | None) -> None:
        super().__init__(shape, hidden=hidden)
        width, both = self.energy.shape[1], shape.query_width + shape.key_width
        joint = _glorot(shape.maps, both, width).detach()
        with torch.no_grad():
            self.query_weight.copy_(joint[:, : shape.query_width])
            self.key_weight.copy_(joint[: shape.key_maps, shape.query_width :])
        self.bias.requires_grad_(False)


def _glorot(maps: int, fan_in: int, fan_out: int) -> nn.Parameter:
    """maps x fan_in x fan_out."""
    bound = math.sqrt(6 / (fan_in + fan_out))
    return nn.Parameter(torch.empty(maps, fan_in, fan_out).uniform_(-bound, bound))
