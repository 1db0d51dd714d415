"""`Groups`: how the units of one axis are made from the units of another, both ways.

Words and pieces, pixels and patches, samples and frames, cropping, padding, added begin and end
marks: each is a list that says, for every new unit, which old units it is made of. One idea
carries gold maps and predicted maps through all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[Any]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Groups:
    """For every new unit the old units that it is made of; none for an added mark or padding."""

    old: int  # how many units there were
    members: tuple[tuple[int, ...], ...]  # one entry for each new unit

    def __post_init__(self) -> None:
        wrong = [i for group in self.members for i in group if not 0 <= i < self.old]
        if wrong:
            raise ValueError(f"unit {wrong[0]} is not among the {self.old} old units")

    def __len__(self) -> int:
        return len(self.members)

    @classmethod
    def same(cls, units: int) -> Groups:
        return cls(units, tuple((i,) for i in range(units)))

    @classmethod
    def of_pieces(cls, word_of_piece: Sequence[int | None], words: int) -> Groups:
        """Words to pieces, as a tokenizer's `word_ids` tells it; None for special pieces."""
        return cls(words, tuple(() if w is None else (w,) for w in word_of_piece))

    @classmethod
    def of_spans(cls, new: Sequence[tuple[int, int]], old: Sequence[tuple[int, int]]) -> Groups:
        """By overlap of character (or time) spans with exclusive ends; an empty span has none."""
        overlaps = tuple(
            tuple(i for i, (begin, end) in enumerate(old) if begin < stop and start < end)
            for start, stop in new
        )
        return cls(len(old), overlaps)

    @classmethod
    def of_patches(cls, height: int, width: int, patch: tuple[int, int]) -> Groups:
        """Pixels (row by row) to patches (row by row); a last patch may hold fewer pixels."""
        rows, columns = patch
        pixels = np.arange(height * width).reshape(height, width)
        return cls(
            height * width,
            tuple(
                tuple(pixels[top : top + rows, left : left + columns].ravel().tolist())
                for top in range(0, height, rows)
                for left in range(0, width, columns)
            ),
        )

    @classmethod
    def of_frames(cls, samples: int, window: int, hop: int) -> Groups:
        """Samples to frames: frame j holds the samples from j * hop to j * hop + window."""
        starts = range(0, samples, hop)
        return cls(samples, tuple(tuple(range(s, min(s + window, samples))) for s in starts))

    def cut(self, start: int, stop: int) -> Groups:
        """Only the new units from start to stop (truncation)."""
        return Groups(self.old, self.members[start:stop])

    def with_ends(self, before: int = 0, after: int = 0) -> Groups:
        """With marks added around, such as BOS and EOS, made of nothing."""
        return Groups(self.old, ((),) * before + self.members + ((),) * after)

    def then(self, following: Groups) -> Groups:
        """These groups, regrouped once more: characters to words, then words to pieces."""
        if following.old != len(self):
            raise ValueError(f"{len(self)} units cannot be regrouped as {following.old}")
        joined = (
            tuple(sorted({old for middle in group for old in self.members[middle]}))
            for group in following.members
        )
        return Groups(self.old, tuple(joined))

    def reverse(self) -> Groups:
        """The way back: each old unit is made of the new units that it went into."""
        back: list[list[int]] = [[] for _ in range(self.old)]
        for new, group in enumerate(self.members):
            for old in group:
                back[old].append(new)
        return Groups(len(self), tuple(tuple(units) for units in back))

    @cached_property
    def pairs(self) -> tuple[Indices, Indices]:
        """The membership as two arrays of the same length: new unit, old unit."""
        sizes = [len(group) for group in self.members]
        new = np.repeat(np.arange(len(self)), sizes)
        old = np.array([i for group in self.members for i in group], dtype=np.int64)
        return new, old

    def any(self, values: Matrix, axis: int) -> Matrix:
        """Each new unit has the greatest value of its members: for marks and flags."""
        new, old = self.pairs
        moved = np.moveaxis(values, axis, 0)  # old x rest
        made = np.zeros((len(self), *moved.shape[1:]), dtype=values.dtype)
        np.maximum.at(made, new, moved[old])
        return np.moveaxis(made, 0, axis)

    def share(self, values: Matrix, axis: int) -> Matrix:
        """Each old unit divides its value among its new units: mass is kept."""
        _, old = self.pairs
        parts = np.bincount(old, minlength=self.old)[old]  # into how many units each member goes
        return self._sum(values, axis, 1.0 / parts)

    def mean(self, values: Matrix, axis: int, counted: npt.NDArray[np.bool_]) -> Matrix:
        """Each new unit has the mean over those of its members that are counted."""
        new, old = self.pairs
        members = np.bincount(new, weights=counted[old], minlength=len(self))
        return self._sum(values, axis, counted[old] / np.maximum(members, 1)[new])

    def _sum(self, values: Matrix, axis: int, factor: npt.NDArray[np.float64]) -> Matrix:
        new, old = self.pairs
        moved = np.moveaxis(values, axis, 0)  # old x rest
        made = np.zeros((len(self), *moved.shape[1:]), dtype=np.float64)
        np.add.at(made, new, moved[old] * factor.reshape(-1, *[1] * (moved.ndim - 1)))
        return np.moveaxis(made, 0, axis).astype(values.dtype)
