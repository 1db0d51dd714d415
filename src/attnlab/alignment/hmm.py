"""The hidden Markov model of word alignment: forward and backward over many sentences at once.

Every output word is made by one source word, or by none. Which one depends on the one before it
(Vogel, Ney and Tillmann 1996). A word made by none remembers from where the next jump starts (Och
and Ney 2003). State 0 stands before the first source word, state i + 1 for source word i.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from attnlab.alignment.bitext import Group, Reals, sums

FARTHEST = 40  # longer jumps count as this one
LEAST = 1e-3  # counts of a jump never seen
START, SHARED = 0, 1  # classes: before the first word, and of every word without an own one


@dataclass(frozen=True)
class Steps:
    """Where the next output word comes from. What no sentence has (padding) is zero."""

    step: Reals  # pairs x states x states: from, to; nothing leads to state 0
    end: Reals  # pairs x states: that the last word came from here


@dataclass(frozen=True)
class Emitted:
    """How likely the output words are. What lies behind a sentence's end is left out."""

    words: Reals  # pairs x outputs x sources: not made by none, and this word; 0 in the padding
    none: Reals  # pairs x outputs: made by none, and this word
    lengths: npt.NDArray[np.intp]  # pairs: outputs

    def inside(self) -> npt.NDArray[np.bool_]:
        """Outputs that exist: pairs x outputs."""
        return np.arange(self.none.shape[1]) < self.lengths[:, None]


@dataclass(frozen=True)
class Expected:
    """Posterior probabilities of the states, given the outputs."""

    links: Reals  # pairs x outputs x sources: chance that the word comes from this one
    none: Reals  # pairs x outputs: that it comes from none
    steps: Reals  # pairs x states x states: how often this step is expected
    ends: Reals  # pairs x states: that the last word came from here
    log_likelihood: Reals  # pairs


def expect(emitted: Emitted, steps: Steps) -> Expected:
    """Posteriors of the states."""
    pairs, outputs, _ = emitted.words.shape
    made = np.pad(emitted.words, ((0, 0), (0, 0), (1, 0)))
    none = emitted.none[:, :, None]
    inside = emitted.inside()

    before = np.zeros((outputs + 1, *steps.end.shape), made.dtype)  # outputs x pairs x states
    before[0, :, 0] = 1
    real = np.zeros((outputs, *steps.end.shape), made.dtype)
    scale = np.ones((outputs, pairs, 1), made.dtype)
    for j in range(outputs):
        real[j] = _forward(before[j], steps.step) * made[:, j]
        now = real[j] + before[j] * none[:, j]
        scale[j] = np.where(inside[:, j, None], now.sum(-1, keepdims=True), 1)
        before[j + 1] = np.where(inside[:, j, None], now / scale[j], before[j])

    final = (before[-1] * steps.end).sum(-1)  # pairs
    behind = np.zeros_like(before)  # outputs x pairs x states: chance of all that follows
    behind[-1] = steps.end / final[:, None]
    for j in reversed(range(outputs)):
        message = _backward(made[:, j] * behind[j + 1], steps.step) + none[:, j] * behind[j + 1]
        behind[j] = np.where(inside[:, j, None], message / scale[j], behind[j + 1])

    after = behind[1:] / scale  # outputs x pairs x states
    after *= inside.T[:, :, None]
    links = (real * after)[:, :, 1:].transpose(1, 0, 2)
    by_none = (before[:-1] * after).sum(-1).T * none[:, :, 0]
    arriving = made.transpose(1, 0, 2) * after
    taken = np.matmul(before[:-1].transpose(1, 2, 0), arriving.transpose(1, 0, 2)) * steps.step
    ends = before[-1] * steps.end / final[:, None]
    likelihood = np.log(scale[:, :, 0]).sum(0) + np.log(final)
    return Expected(links, by_none, taken, ends, likelihood)


def _forward(states: Reals, step: Reals) -> Reals:
    """pairs x states, one step on."""
    return np.matmul(states[:, None, :], step)[:, 0]


def _backward(states: Reals, step: Reals) -> Reals:
    """pairs x states, one step back."""
    return np.matmul(step, states[:, :, None])[:, :, 0]


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
        states = np.arange(cells.shape[2])
        weights[:, :, 0] = 0
        lengths = group.source_lengths[:, None, None]
        weights *= states <= lengths + 1
        step = weights[:, :, :-1] * (states[:-1] <= lengths)
        end = weights[np.arange(len(weights)), :, group.source_lengths + 1]
        return Steps(step, end)

    def cells(self, group: Group) -> npt.NDArray[np.intp]:
        """Which entry of the table a jump is: pairs x states x (states + end)."""
        pairs, words = group.source.shape
        classes = np.zeros((pairs, words + 1), np.intp)
        classes[:, 1:] = self.classes[group.source]
        states = np.arange(words + 2)
        distance = np.clip(states[None, :] - states[:-1, None], -FARTHEST, FARTHEST) + FARTHEST
        return classes[:, :, None] * self.table.shape[1] + distance

    def count(self, group: Group, expected: Expected) -> Reals:
        """Expected jumps: classes x distances."""
        pairs, states = expected.ends.shape
        taken = np.zeros((pairs, states, states + 1), np.float64)
        taken[:, :, :-1] = expected.steps
        taken[np.arange(pairs), :, group.source_lengths + 1] += expected.ends
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
