"""Rows in the order of their weights, with ties treated as ties."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Ranking:
    """Keys from the greatest weight to the least; hidden keys come last.

    `first` and `last` are the ranks at which the ties of a rank begin and end.
    """

    order: Tensor  # batch x queries x keys, long: which key has this rank
    marks: Tensor  # batch x queries x keys, double: 1 where the key of this rank is marked
    first: Tensor  # batch x queries x keys, long
    last: Tensor  # batch x queries x keys, long

    def up_to_ties(self, values: Tensor) -> Tensor:
        """At each rank the sum of values over all ranks up to the end of its ties."""
        return values.cumsum(-1).gather(-1, self.last)

    def before_ties(self, values: Tensor) -> Tensor:
        """At each rank the sum of values over all ranks before its ties."""
        sums = values.cumsum(-1)
        return torch.where(self.first > 0, sums.gather(-1, (self.first - 1).clamp_min(0)), 0.0)


def rank(weights: Tensor, marks: Tensor, keys: Tensor) -> Ranking:
    """All arguments are batch x queries x keys."""
    hidden = torch.where(keys, weights, -torch.inf)
    ordered, order = hidden.sort(dim=-1, descending=True, stable=True)
    place = torch.arange(weights.shape[-1], device=weights.device).expand_as(order)
    changes = ordered[..., 1:] != ordered[..., :-1]
    edge = torch.ones_like(ordered[..., :1], dtype=torch.bool)
    begins, ends = torch.cat([edge, changes], -1), torch.cat([changes, edge], -1)
    return Ranking(
        order=order,
        marks=(marks & keys).gather(-1, order).double(),
        first=torch.where(begins, place, 0).cummax(-1).values,
        last=torch.where(ends, place, place.shape[-1]).flip(-1).cummin(-1).values.flip(-1),
    )


def average_ranks(values: Tensor, keys: Tensor) -> Tensor:
    """The rank of each key, ties sharing their mean: batch x queries x keys, double."""
    ranking = rank(values, keys, keys)
    shared = (ranking.first + ranking.last).double() / 2
    return torch.zeros_like(shared).scatter(-1, ranking.order, shared)
