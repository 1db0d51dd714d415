"""Normalizers with exact zeros: the Tsallis family between softmax and sparsemax.

The projections are those of the `entmax` package, whose gradients are exact.
"""

from __future__ import annotations

import math

import torch
from entmax import entmax15, entmax_bisect, sparsemax
from torch import Tensor, nn

from attnlab.attention.parts import Normalizer, Shape


class _Sparse(Normalizer):
    """Projects rows after forbidden keys were moved out of reach."""

    def forward(self, logits: Tensor, allowed: Tensor | None) -> Tensor:
        if allowed is None:
            return self.project(logits)
        weights = self.project(_out_of_reach(logits, allowed))
        return weights.masked_fill(~allowed, 0)

    def project(self, logits: Tensor) -> Tensor:
        raise NotImplementedError


class Sparsemax(_Sparse):
    """The point of the simplex nearest to the logits (Martins, Astudillo 2016, "From Softmax to
    Sparsemax")."""

    def project(self, logits: Tensor) -> Tensor:
        return sparsemax(logits, dim=-1)


class Entmax(_Sparse):
    """alpha 1 is softmax, 2 sparsemax (Peters, Niculae, Martins 2019, "Sparse
    Sequence-to-Sequence Models")."""

    def __init__(self, shape: Shape, *, alpha: float) -> None:
        super().__init__(shape)
        self.alpha = alpha

    def project(self, logits: Tensor) -> Tensor:
        if self.alpha == 1.5:
            return entmax15(logits, dim=-1)
        if self.alpha == 2:
            return sparsemax(logits, dim=-1)
        return entmax_bisect(logits, alpha=self.alpha, dim=-1)


class LearnedEntmax(_Sparse):
    """An alpha between 1 and 2 for each map, learned (Correia, Niculae, Martins 2019, "Adaptively
    Sparse Transformers")."""

    def __init__(self, shape: Shape, *, initial: float) -> None:
        super().__init__(shape)
        raw = math.log((initial - 1) / (2 - initial))
        self.raw_alpha = nn.Parameter(torch.full((shape.maps, 1, 1), raw))

    @property
    def alpha(self) -> Tensor:
        """maps x 1 x 1."""
        return 1 + self.raw_alpha.sigmoid()

    def project(self, logits: Tensor) -> Tensor:
        alpha = self.alpha.to(logits.dtype)[None]
        return entmax_bisect(logits, alpha=alpha, dim=-1)  # pyright: ignore[reportArgumentType]


def _out_of_reach(logits: Tensor, allowed: Tensor) -> Tensor:
    """Forbidden keys far below the best allowed one, yet finite: sums over them stay exact."""
    lowest = torch.finfo(logits.dtype).min
    best = logits.detach().masked_fill(~allowed, lowest).amax(-1, keepdim=True)
    best = best.masked_fill(best == lowest, 0)
    return torch.where(allowed, logits, best - 1e4)
