"""Rows in the order of their weights, with ties treated as ties."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Ranking:
    """Keys from the greatest weight to the least; `first` and `last` bound each group of ties."""

    marks: Tensor  # batch x queries x keys, double: 1 where the key at this rank is marked
    counted: Tensor  # batch x queries x keys, bool: ranks of real keys (they come first)
    first: Tensor  # batch x queries x keys, long: rank at which this rank's ties begin
    last: Tensor  # batch x queries x keys, long: rank at which this rank's ties end

    def up_to(self, values: Tensor, rank: Tensor) -> Tensor:
        """The sum of values over all ranks up to and including a given one."""
        return values.cumsum(-1).gather(-1, rank)


def rank(weights: Tensor, marks: Tensor, keys: Tensor) -> Ranking:
    """All arguments are batch x queries x keys."""
    hidden = torch.where(keys, weights, -torch.inf)
    ordered, order = hidden.sort(dim=-1, descending=True, stable=True)
    place = torch.arange(weights.shape[-1], device=weights.device).expand_as(order)
    changes = ordered[..., 1:] != ordered[..., :-1]
    edge = torch.ones_like(ordered[..., :1], dtype=torch.bool)
    begins, ends = torch.cat([edge, changes], -1), torch.cat([changes, edge], -1)
    first = torch.where(begins, place, 0).cummax(-1).values
    far = torch.where(ends, place, place.shape[-1])
    last = far.flip(-1).cummin(-1).values.flip(-1)
    return Ranking(
        marks=(marks & keys).gather(-1, order).double(),
        counted=keys.gather(-1, order),
        first=first,
        last=last,
    )
