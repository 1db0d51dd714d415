"""How far a jump goes: a distribution over distances for each class of making words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from attnlab.alignment.bitext import Group
from attnlab.alignment.hmm import Expected, Reals, Steps
from attnlab.alignment.tally import sums

FARTHEST = 40  # longer jumps count as this one
LEAST = 1e-3  # counts of a jump never seen
START, SHARED = 0, 1  # classes: before the first word, and of every word without an own one


@dataclass(frozen=True)
class Jumps:
    """p(distance | class), and the class of every word."""

    table: Reals  # classes x distances, from -FARTHEST to FARTHEST
    classes: npt.NDArray[np.int32]  # words

    @classmethod
    def near(cls, classes: npt.NDArray[np.int32]) -> Jumps:
        """Before anything is counted: one word on, or not far from there."""
        off = np.abs(np.arange(-FARTHEST, FARTHEST + 1) - 1)
        shape = 0.6 ** np.minimum(off, 8)
        table = np.tile(shape / shape.sum(), (int(classes.max(initial=SHARED)) + 1, 1))
        return cls(table.astype(np.float32), classes)

    def steps(self, group: Group) -> Steps:
        """For the source words of a group."""
        cells = self.cells(group)  # pairs x states x (states + end)
        weights = self.table.reshape(-1)[cells]
        places = np.arange(cells.shape[2])
        weights[:, :, 0] = 0
        lengths = group.source_lengths[:, None, None]
        weights *= places <= lengths + 1
        step = weights[:, :, :-1] * (places[:-1] <= lengths)
        end = weights[np.arange(len(weights)), :, group.source_lengths + 1]
        return Steps(step, end)

    def cells(self, group: Group) -> npt.NDArray[np.intp]:
        """Which entry of the table a jump is: pairs x states x (states + end)."""
        pairs, words = group.source.shape
        classes = np.zeros((pairs, words + 1), np.intp)
        classes[:, 1:] = self.classes[group.source]
        places = np.arange(words + 2)
        distance = np.clip(places[None, :] - places[:-1, None], -FARTHEST, FARTHEST) + FARTHEST
        return classes[:, :, None] * self.table.shape[1] + distance

    def count(self, group: Group, found: Expected) -> Reals:
        """Expected jumps: classes x distances."""
        pairs, states = found.ends.shape
        taken = np.zeros((pairs, states, states + 1), np.float64)
        taken[:, :, :-1] = found.steps
        taken[np.arange(pairs), :, group.source_lengths + 1] += found.ends
        counted = sums(self.cells(group).reshape(-1), taken.reshape(-1), self.table.size)
        return counted.reshape(self.table.shape)

    def counted(self, counts: Reals, weight: float) -> Jumps:
        """From expected jumps; rare classes lean on what all words do."""
        counts = counts + LEAST
        words = counts[SHARED:].sum(0)
        own = counts + weight * words / words.sum()
        own[START] = counts[START]
        return Jumps((own / own.sum(1, keepdims=True)).astype(np.float32), self.classes)


def classes_of(occurrences: Reals, frequent: int) -> npt.NDArray[np.int32]:
    """Every frequent word is a class of its own, all others share one."""
    classes = np.full(len(occurrences), SHARED, np.int32)
    own = np.flatnonzero(occurrences >= frequent)
    classes[own] = np.arange(SHARED + 1, SHARED + 1 + len(own))
    return classes
