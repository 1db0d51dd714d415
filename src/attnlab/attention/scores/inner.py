"""Scores that are an inner product, once each side has been prepared on its own.

Because q.k is all that is left to do, every fused kernel for scaled dot products serves them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attnlab.attention.mask import Mask
from attnlab.attention.parts import Score, Shape, project_maps
from attnlab.errors import UserError


class InnerProduct(Score):
    """scale * q.k of what `prepare_query` and `prepare_key` make."""

    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        return (query * self.scale) @ key.transpose(-1, -2)  # batch x maps x queries x keys


class Dot(InnerProduct):
    """q.k (Luong, Pham, Manning 2015, "Effective Approaches to Attention-based NMT")."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        if shape.query_width != shape.key_width:
            raise UserError(
                f"a query of width {shape.query_width} and a key of width {shape.key_width} have "
                "no inner product; attention/score=general or additive joins different widths"
            )


class ScaledDot(Dot):
    """q.k / sqrt(d) (Vaswani et al. 2017, "Attention Is All You Need")."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.scale = 1 / math.sqrt(shape.query_width)


class General(InnerProduct):
    """q'Wk, a matrix for each map (Luong, Pham, Manning 2015)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.weight = nn.Parameter(torch.empty(shape.maps, shape.query_width, shape.key_width))
        nn.init.uniform_(self.weight, -1, 1)
        with torch.no_grad():  # logits of unit variance for inputs of unit variance
            self.weight *= math.sqrt(3 / (shape.query_width * shape.key_width))

    def prepare_query(self, query: Tensor) -> Tensor:
        return project_maps(query, self.weight)  # batch x maps x queries x key_width


class Cosine(Dot):
    """tau * q.k / (|q| |k|), tau learned for each map (Henry et al. 2020, "Query-Key
    Normalization for Transformers")."""

    def __init__(self, shape: Shape, *, temperature: float) -> None:
        super().__init__(shape)
        self.temperature = nn.Parameter(torch.full((shape.maps, 1, 1), temperature))

    def prepare_query(self, query: Tensor) -> Tensor:
        return F.normalize(query, dim=-1) * self.temperature.to(query.dtype)

    def prepare_key(self, key: Tensor, mask: Mask) -> Tensor:
        return F.normalize(key, dim=-1)


class L2(Dot):
    """-|q - k|^2 / sqrt(d) (Kim, Papamakarios, Mnih 2021, "The Lipschitz Constant of
    Self-Attention").

    -|q - k|^2 = [2q, -|q|^2, 1].[k, 1, -|k|^2].
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.scale = 1 / math.sqrt(shape.query_width)

    def prepare_query(self, query: Tensor) -> Tensor:
        length = query.square().sum(-1, keepdim=True)
        return torch.cat([2 * query, -length, torch.ones_like(length)], dim=-1)

    def prepare_key(self, key: Tensor, mask: Mask) -> Tensor:
        length = key.square().sum(-1, keepdim=True)
        return torch.cat([key, torch.ones_like(length), -length], dim=-1)


class Linear(InnerProduct):
    """w.[q; k] = [w_q.q, 1].[1, w_k.k], vectors for each map."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.query_weight = _vectors(shape.maps, shape.query_width)
        self.key_weight = _vectors(shape.key_maps, shape.key_width)

    def prepare_query(self, query: Tensor) -> Tensor:
        part = project_maps(query, self.query_weight)  # batch x maps x queries x 1
        return torch.cat([part, torch.ones_like(part)], dim=-1)

    def prepare_key(self, key: Tensor, mask: Mask) -> Tensor:
        part = project_maps(key, self.key_weight)  # batch x key_maps x keys x 1
        return torch.cat([torch.ones_like(part), part], dim=-1)


class Trilinear(Linear):
    """w.[q; k; q*k] (Seo et al. 2017, "Bidirectional Attention Flow")."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        Dot(shape)  # the product of both needs one width
        self.product_weight = _vectors(shape.maps, shape.query_width)

    def prepare_query(self, query: Tensor) -> Tensor:
        product = query * self.product_weight.to(query.dtype).transpose(-1, -2)
        return torch.cat([super().prepare_query(query), product], dim=-1)

    def prepare_key(self, key: Tensor, mask: Mask) -> Tensor:
        return torch.cat([super().prepare_key(key, mask), key], dim=-1)


def _vectors(maps: int, width: int) -> nn.Parameter:
    """maps x width x 1, such that inputs of unit variance give logits of unit variance."""
    return nn.Parameter(torch.randn(maps, width, 1) / math.sqrt(width))
