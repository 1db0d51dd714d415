"""From a map to marks: which keys a row is said to look at."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class LinkRule(Protocol):
    """Decides on links. Ties are never broken by position: all tied keys are in, or none is."""

    def links(self, weights: Tensor, keys: Tensor) -> Tensor:
        """Marks (batch x queries x keys, bool) from weights and key mask, both of that shape."""
        ...


class Argmax:
    """The greatest weight of each row, if it is at least `minimum`."""

    def __init__(self, *, minimum: float) -> None:
        self.minimum = minimum

    def links(self, weights: Tensor, keys: Tensor) -> Tensor:
        top = weights.masked_fill(~keys, -1.0).amax(-1, keepdim=True)  # batch x queries x 1
        return keys & (weights == top) & (weights >= self.minimum)


class Above:
    """Weights above `times` the uniform weight, so that long rows are judged like short ones."""

    def __init__(self, *, times: float) -> None:
        self.times = times

    def links(self, weights: Tensor, keys: Tensor) -> Tensor:
        return keys & (weights * keys.sum(-1, keepdim=True) > self.times)


class Top:
    """The greatest weights of each row, `share` of its keys (DeYoung et al. 2020); at least one."""

    def __init__(self, *, share: float) -> None:
        self.share = share

    def links(self, weights: Tensor, keys: Tensor) -> Tensor:
        hidden = weights.masked_fill(~keys, -1.0)
        many = (keys.sum(-1, keepdim=True) * self.share).round().long().clamp(1, keys.shape[-1])
        last = hidden.sort(-1, descending=True).values.gather(-1, many - 1)  # batch x queries x 1
        return keys & (hidden >= last)


def symmetrise(forward: Tensor, backward: Tensor, how: str) -> Tensor:
    """Links of two directions as one: `intersection`, `union` or `grow-diag` (Koehn et al. 2003).

    Both are batch x queries x keys, bool; transpose the backward ones beforehand.
    """
    if how == "grow-diag":
        return _grow_diagonal(forward & backward, forward | backward)
    return {"intersection": forward & backward, "union": forward | backward}[how]


def _grow_diagonal(links: Tensor, union: Tensor) -> Tensor:
    """Add links of the union next to a link, as long as their query or key has none."""
    while True:
        lonely = ~links.any(-1, keepdim=True) | ~links.any(-2, keepdim=True)
        near = torch.nn.functional.max_pool2d(links.float(), 3, stride=1, padding=1) > 0
        new = union & near & lonely & ~links
        if not new.any():
            return links
        first = _first(new)
        links = links | first


def _first(marks: Tensor) -> Tensor:
    """Only the first mark of each example: links are added one by one, each changes the rest."""
    flat = marks.flatten(1)
    return (flat & (flat.cumsum(-1) == 1)).view_as(marks)
