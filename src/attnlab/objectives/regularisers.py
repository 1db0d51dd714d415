"""Terms on a map that need no gold: what a map should look like, whatever it attends to."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from attnlab.data.target_batch import TargetBatch
from attnlab.objectives.attention import MapTerm, cross_entropy


class Regulariser(MapTerm):
    """Counts every row that exists, annotated or not."""

    def rows(self, target: TargetBatch) -> Tensor:
        return target.row_mask


class Guided(Regulariser):
    """sum_t A_nt (1 - exp(-(n/N - t/T)^2 / 2g^2)): near-diagonal maps (Tachibana et al. 2018).

    Summed over keys and averaged over rows; the paper averages over both.
    """

    def __init__(self, *, width: float, site: str) -> None:
        super().__init__(site=site)
        self.width = width

    def per_row(self, log_weights: Tensor, target: TargetBatch) -> Tensor:
        query = relative_position(target.row_mask)[:, :, None]  # batch x queries x 1
        key = relative_position(target.key_mask)[:, None, :]  # batch x 1 x keys
        penalty = 1 - (-((query - key) ** 2) / (2 * self.width**2)).exp()  # batch x queries x keys
        penalty = penalty * target.keys()
        return (log_weights.exp() * penalty[:, None]).sum(-1)


class Entropy(Regulariser):
    """The entropy of each row, lowered (focused) or raised (spread; Zhai et al. 2023)."""

    def __init__(self, *, seek: Literal["focused", "spread"], site: str) -> None:
        super().__init__(site=site)
        self.sign = 1.0 if seek == "focused" else -1.0

    def per_row(self, log_weights: Tensor, target: TargetBatch) -> Tensor:
        # Not through the entropy of the weights: its gradient is 0 * inf at a masked key.
        return self.sign * cross_entropy(log_weights, log_weights.exp())


class Sparsity(Regulariser):
    """sum p^power, and the differences between neighbours (Lei et al. 2016).

    With power 1 a row of a distribution always sums to one, so that only weights that are free
    (sigmoid gates, stochastic masks) feel it; a distribution needs a power below 1.
    """

    def __init__(self, *, power: float, continuity: float, site: str) -> None:
        super().__init__(site=site)
        self.power, self.continuity = power, continuity

    def per_row(self, log_weights: Tensor, target: TargetBatch) -> Tensor:
        allowed = target.keys()[:, None]  # batch x 1 x queries x keys
        weights = log_weights.exp() * allowed
        size = ((log_weights * self.power).exp() * allowed).sum(-1)
        neighbours = allowed[..., 1:] & allowed[..., :-1]
        steps = (weights.diff(dim=-1).abs() * neighbours).sum(-1)
        return size + self.continuity * steps


class Coverage(Regulariser):
    """sum_k min(p_ik, sum of p_jk over earlier rows j): no key twice (See et al. 2017, eq. 12)."""

    def per_row(self, log_weights: Tensor, target: TargetBatch) -> Tensor:
        weights = log_weights.exp() * target.row_mask[:, None, :, None]
        earlier = weights.cumsum(2) - weights  # batch x heads x queries x keys
        return torch.minimum(weights, earlier).sum(-1)


def relative_position(mask: Tensor) -> Tensor:
    """Where each unit stands among those of the mask, from 0 to (n-1)/n: batch x units."""
    position = (mask.cumsum(-1) - 1).clamp_min(0)
    return position / mask.sum(-1, keepdim=True).clamp_min(1)
