"""Adding up what is expected, by number."""

from __future__ import annotations

import numpy as np

from attnlab.alignment.bitext import Counts, Numbers
from attnlab.alignment.hmm import Reals

ADDED_AT_ONCE = 8_000_000  # amounts


def sums(numbers: Numbers, amounts: Reals, size: int = 0) -> Counts:
    """The sum of the amounts of each number."""
    return np.bincount(numbers, amounts, size).astype(np.float64, copy=False)


class Tally:
    """Sums over all groups, a few million amounts at a time: all at once would need much memory."""

    def __init__(self, size: int) -> None:
        self._total = np.zeros(size)
        self._waiting: list[tuple[Numbers, Reals]] = []
        self._cells = 0

    def add(self, numbers: Numbers, amounts: Reals) -> None:
        """Both of one shape."""
        self._waiting.append((numbers, amounts))
        self._cells += numbers.size
        if self._cells > ADDED_AT_ONCE:
            self._settle()

    def total(self) -> Counts:
        """Sum of what was added for each number."""
        self._settle()
        return self._total

    def _settle(self) -> None:
        if self._waiting:
            numbers = np.concatenate([n.reshape(-1) for n, _ in self._waiting])
            amounts = np.concatenate([a.reshape(-1) for _, a in self._waiting])
            self._total += sums(numbers, amounts, len(self._total))
        self._waiting, self._cells = [], 0
