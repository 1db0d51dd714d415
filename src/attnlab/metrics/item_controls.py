"""Recommenders that know no order, or no more than one step of it: what a model has to beat.

Each is fitted on histories, lists of items' numbers, and gives a score to every item for what
comes next. They are judged by the same `Recommendation` as models are.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array

Histories = Sequence[Sequence[int]]
Scores = npt.NDArray[np.float64]


class ItemControl(Protocol):
    """Scores every item, given what somebody chose so far, oldest first."""

    def scores(self, history: Sequence[int]) -> Scores: ...


class Popularity:
    """What most people chose."""

    def __init__(self, histories: Histories, items: int) -> None:
        self.counts = np.bincount([item for each in histories for item in each], minlength=items)

    def scores(self, history: Sequence[int]) -> Scores:
        return self.counts.astype(np.float64)


class Markov:
    """What most often came right after the last item; ties by popularity."""

    def __init__(self, histories: Histories, items: int) -> None:
        steps = [pair for each in histories for pair in pairwise(each)]
        before, after = np.array(steps, dtype=np.int64).reshape(-1, 2).T
        counted = coo_array((np.ones(len(steps)), (before, after)), shape=(items, items))
        self.after = counted.tocsr()  # adds up what stands in one place
        counts = Popularity(histories, items).counts
        self.ties = counts / (counts.sum() + 1)  # less than one step in all

    def scores(self, history: Sequence[int]) -> Scores:
        return self.after[[history[-1]]].toarray()[0] + self.ties


class ItemNeighbours:
    """Items chosen by the same people as those of the history (Deshpande & Karypis 2004).

    Likeness is the cosine of who chose them; each candidate counts its `nearest` neighbours only.
    `latest` looks at the last so many items of a history, 0 at all of them.
    """

    def __init__(self, histories: Histories, items: int, nearest: int, latest: int = 0) -> None:
        chosen = np.zeros((len(histories), items))
        for row, each in enumerate(histories):
            chosen[row, list(each)] = 1
        together = chosen.T @ chosen
        size = np.sqrt(np.diag(together)).clip(1e-9)
        likeness = together / size[:, None] / size
        np.fill_diagonal(likeness, 0)
        least = np.sort(likeness, 1)[:, -min(nearest, items)][:, None]
        self.likeness = np.where(likeness >= least, likeness, 0)  # candidates x items
        self.latest = latest

    def scores(self, history: Sequence[int]) -> Scores:
        return self.likeness[:, list(history)[-self.latest :]].sum(1)
