"""The hidden Markov model of word alignment: forward and backward over many sentences at once.

Every output word is made by one source word, or by none. Which one depends on the one before it
(Vogel, Ney and Tillmann 1996). A word made by none remembers from where the next jump starts (Och
and Ney 2003). State 0 stands before the first source word, state i + 1 for source word i.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Reals = npt.NDArray[np.floating]


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
