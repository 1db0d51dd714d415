"""From a map to marks: which keys a row is said to look at."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Gains = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]
FORBIDDEN = -1e6  # the gain of a key that cannot be looked at


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


class Path:
    """One stretch of keys for each row, in the order of the rows, where together most weight is.

    Dynamic programming over all ways to lay the rows out in time, as dynamic time warping has it
    (Sakoe & Chiba 1978; word times of a recogniser in Radford et al. 2023); but keys may belong to
    no row: silence. What is summed up is the weight above `level` times the row's usual one, the
    mean over what it looks at, so that a stretch ends where its weight has fallen to that.
    """

    def __init__(self, *, level: float) -> None:
        self.level = level

    def links(self, weights: Tensor, keys: Tensor) -> Tensor:
        seen = weights.double() * keys
        total = seen.sum(-1, keepdim=True).clamp_min(1e-30)
        usual = (seen.square().sum(-1, keepdim=True) / total).clamp_min(1e-30)
        gain = torch.where(keys, seen / usual - self.level, FORBIDDEN)  # batch x queries x keys
        marks = np.stack([_laid_out(each) for each in gain.cpu().numpy()])
        return torch.from_numpy(marks).to(keys.device)


def _laid_out(gain: Gains) -> npt.NDArray[np.bool_]:
    """The stretches of greatest gain in all, in order; a row whose gain costs others has none.

    `best[k]` is the gain of the rows so far within the first k keys. A stretch that ends before
    key k starts where what stands before it, less what is summed up to there, is greatest.
    """
    queries, keys = gain.shape
    places = np.arange(keys + 1)
    best = np.zeros(keys + 1)
    starts, ends = np.zeros((2, queries, keys + 1), np.int64)
    for row in range(queries):
        summed = np.concatenate([[0.0], gain[row].cumsum()])
        start, before = _greatest_so_far(best - summed, places)
        ends[row], best = _greatest_so_far(before + summed, places)
        starts[row] = start[ends[row]]
    marks = np.zeros(gain.shape, bool)
    stop = keys
    for row in reversed(range(queries)):
        start, end = starts[row, stop], ends[row, stop]
        marks[row, start:end] = True
        stop = start
    return marks


def _greatest_so_far(values: Gains, places: Places) -> tuple[Places, Gains]:
    """Of each beginning of an array its greatest value, and where that stands last."""
    greatest = np.maximum.accumulate(values)
    return np.maximum.accumulate(np.where(values == greatest, places, 0)), greatest


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
