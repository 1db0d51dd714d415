"""Connectionist temporal classification: a unit or none at each step (Graves et al. 2006)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attnlab.data.batch import Padded
from attnlab.data.vocabulary import EOS, PAD
from attnlab.models.memory import Memory

BLANK = PAD  # the symbol of a step without a unit; an answer never holds it


class CtcOutput(NamedTuple):
    """What the steps of an encoder predict."""

    log_probs: Tensor  # batch x steps x units, the blank included
    mask: Tensor  # batch x steps, bool: True where real

    def units(self) -> Tensor:
        """The units of the best path, repeats taken as one: batch x length, the end mark last."""
        best = self.log_probs.argmax(-1).masked_fill(~self.mask, BLANK)  # batch x steps
        new = best != F.pad(best, (1, 0), value=BLANK)[:, :-1]
        rows = [row[kept] for row, kept in zip(best, new & (best != BLANK), strict=True)]
        ended = [F.pad(row, (0, 1), value=EOS) for row in rows]
        return nn.utils.rnn.pad_sequence(ended, batch_first=True, padding_value=PAD)

    def losses(self, answer: Padded) -> Tensor:
        """-log p(answer), summed over the ways in which its units may lie on the steps: batch.

        An answer with more units than steps is impossible, and does not count.
        """
        units, mask = answer
        return F.ctc_loss(
            self.log_probs.float().transpose(0, 1),
            units,
            self.mask.sum(1),
            mask.sum(1) - 1,  # without the end mark
            blank=BLANK,
            reduction="none",
            zero_infinity=True,
        )


class CtcHead(nn.Module):
    """A unit or a blank at each step of a memory."""

    def __init__(self, dim: int, units: int) -> None:
        super().__init__()
        self.output = nn.Linear(dim, units)

    def forward(self, memory: Memory) -> CtcOutput:
        return CtcOutput(self.output(memory.values).log_softmax(-1), memory.mask)


def aligned(log_probs: Tensor, units: list[int]) -> list[tuple[int, int]]:
    """The steps of each unit on the best path through these units: first, and first after.

    log_probs: steps x units. Before, between and after units there may be blanks (Viterbi).
    """
    states = [BLANK, *(state for unit in units for state in (unit, BLANK))]
    emitted = log_probs[:, states]  # steps x states
    # The blank between two units may be left out, unless both are alike.
    skips = torch.tensor(
        [i % 2 == 1 and i > 1 and state != states[i - 2] for i, state in enumerate(states)]
    )
    score = torch.full((len(states),), -torch.inf)
    score[:2] = emitted[0, :2]
    came = torch.zeros(len(emitted), len(states), dtype=torch.long)
    for step in range(1, len(emitted)):
        one = F.pad(score, (1, 0), value=-torch.inf)[:-1]
        two = F.pad(score, (2, 0), value=-torch.inf)[:-2].masked_fill(~skips, -torch.inf)
        score, came[step] = torch.stack([score, one, two]).max(0)
        score = score + emitted[step]
    state = len(states) - 1 - int(score[-1] < score[-2])
    path = [state]
    for step in range(len(emitted) - 1, 0, -1):
        state -= int(came[step, state])
        path.append(state)
    steps = torch.tensor(path[::-1])
    places = [(steps == 2 * i + 1).nonzero()[:, 0] for i in range(len(units))]
    return [(int(each[0]), int(each[-1]) + 1) for each in places]
