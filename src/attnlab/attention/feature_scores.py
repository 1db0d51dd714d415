"""Scores phi(q).phi(k) of features that are never negative: attention in linear time.

Divided by their sum (`normalizer=proportion`) they are weights, and because
sum_j phi(q).phi(k_j) v_j = phi(q).(sum_j phi(k_j) v_j'), no queries x keys matrix is needed.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from attnlab.attention.mask import Mask
from attnlab.attention.parts import Score, Shape, at_least_fp32
from attnlab.attention.scores import Dot


class Features(Score):
    """phi(q).phi(k); a subclass says what phi is."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        Dot(shape)  # both sides have the same features

    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        return query @ key.transpose(-1, -2)  # batch x maps x queries x keys


class Elu(Features):
    """phi(x) = elu(x) + 1 (Katharopoulos et al. 2020, "Transformers are RNNs")."""

    def prepare_query(self, query: Tensor) -> Tensor:
        return F.elu(query) + 1

    def prepare_key(self, key: Tensor, mask: Mask) -> Tensor:
        return F.elu(key) + 1


class Relu(Features):
    """phi(x) = relu(x), which `position=cosine` weighs by distance (Qin et al. 2022,
    "cosFormer")."""

    def prepare_query(self, query: Tensor) -> Tensor:
        return F.relu(query)

    def prepare_key(self, key: Tensor, mask: Mask) -> Tensor:
        return F.relu(key)


class Performer(Features):
    """phi(x) = exp(Wx - |x|^2 / 2) with orthogonal random rows in W, so that phi(q).phi(k) is on
    average exp(q.k / sqrt(d)) (Choromanski et al. 2021, "Rethinking Attention with Performers").
    """

    projection: Tensor

    def __init__(self, shape: Shape, *, features: int) -> None:
        super().__init__(shape)
        self.register_buffer("projection", _orthogonal(features, shape.query_width))

    def prepare_query(self, query: Tensor) -> Tensor:
        exponent = self._exponent(query)  # a factor common to a row cancels in its proportions
        return (exponent - exponent.amax(-1, keepdim=True).detach()).exp()

    def prepare_key(self, key: Tensor, mask: Mask) -> Tensor:
        return self._exponent(key).clamp_max(60).exp()  # at most |w|^2 / 2, about d / 2

    def _exponent(self, x: Tensor) -> Tensor:
        x = at_least_fp32(x) / self.shape.query_width**0.25
        return x @ self.projection.to(x.dtype).T - x.square().sum(-1, keepdim=True) / 2


def _orthogonal(rows: int, width: int) -> Tensor:
    """rows x width: blocks of orthogonal rows, as long as Gaussian ones would be."""
    blocks = [torch.linalg.qr(torch.randn(width, width))[0] for _ in range(-(-rows // width))]
    lengths = torch.randn(rows, width).norm(dim=1, keepdim=True)
    return torch.cat(blocks)[:rows] * lengths
