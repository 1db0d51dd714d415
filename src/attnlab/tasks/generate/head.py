"""`Generator`: answers with units, one after the other or by CTC (Graves et al. 2006)."""

from __future__ import annotations

from typing import Literal, NamedTuple, overload

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attnlab.data.batch import Batch, Padded
from attnlab.data.vocabulary import BOS, EOS, PAD
from attnlab.models.builder import Decoder, UnitDropout
from attnlab.models.ensemble import OpenTap, joint_decoder
from attnlab.models.memory import Memory, Reader, Reading
from attnlab.models.pooling import AttentionPrediction
from attnlab.models.units import Scores
from attnlab.tasks.generate.decoding import Decoded, Decoding

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
    steps_of_units = [(steps == 2 * i + 1).nonzero()[:, 0] for i in range(len(units))]
    return [(int(each[0]), int(each[-1]) + 1) for each in steps_of_units]


class JointScores(NamedTuple):
    """Scores of the decoder, and what the encoder's steps predict alone."""

    decoder: Scores  # batch x length x units
    ctc: CtcOutput


class Generator(nn.Module):
    """A decoder that attends to the encoder's memory, or to a prediction made from it."""

    def __init__(
        self,
        reader: Reader,
        prediction: AttentionPrediction | None,
        decoder: Decoder,
        max_length: int,
        unit_dropout: float,
        ctc: CtcHead | None = None,
    ) -> None:
        super().__init__()
        self.reader, self.prediction, self.decoder = reader, prediction, decoder
        self.max_length = max_length
        self.unit_dropout = UnitDropout(unit_dropout)
        self.ctc = ctc

    @overload
    def forward(self, batch: Batch) -> Scores: ...

    @overload
    def forward(self, batch: Batch, ctc: Literal[True]) -> JointScores: ...

    def forward(self, batch: Batch, ctc: bool = False) -> Scores | JointScores:
        """Scores of each unit of the gold answer, given those before: batch x length x units."""
        units, reading = batch.answer.values, self.reader(batch)
        shown = self.unit_dropout(shifted(units))
        scores = self.decoder(shown, self.memory(reading, units.shape[1]))
        if not ctc:
            return scores
        assert self.ctc is not None
        return JointScores(scores, self.ctc(reading.memory))

    def memory(self, reading: Reading, length: int) -> Memory:
        """What the decoder attends to while it writes so many units."""
        return self.prediction(reading, length) if self.prediction else reading.memory

    @torch.no_grad()
    def decode(self, batch: Batch, decoding: Decoding, tap: OpenTap) -> Decoded:
        """Answers by a way of decoding, the best first; `tap`, not yet open, gives their map."""
        decoder, memory = joint_decoder(self, lambda each: each.started(batch))
        return decoding(decoder, memory, self.max_length, tap)

    def started(self, batch: Batch) -> tuple[Decoder, Memory]:
        """The decoder, and what it attends to while it answers."""
        return self.decoder, self.memory(self.reader(batch), self.max_length)


def shifted(answer: Tensor) -> Tensor:
    """What the decoder reads: the begin mark, then the answer without its last unit."""
    begin = torch.full_like(answer[:, :1], BOS)
    return torch.cat([begin, answer[:, :-1]], 1)  # batch x length
