"""`Generator`: answers with units, one after the other."""

from __future__ import annotations

from typing import Literal, NamedTuple, overload

import torch
from torch import Tensor, nn

from attnlab.attention.probes import Tap
from attnlab.data.batch import Batch
from attnlab.data.vocabulary import BOS
from attnlab.models.builder import Decoder
from attnlab.models.dropout import UnitDropout
from attnlab.models.memory import Memory, Reader, Reading
from attnlab.models.pooling import AttentionPrediction
from attnlab.tasks.generate.ctc import CtcHead, CtcOutput
from attnlab.tasks.generate.decoding import Decoded, Decoding


class JointScores(NamedTuple):
    """Scores of the decoder, and what the encoder's steps predict alone."""

    decoder: Tensor  # batch x length x units
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
    def forward(self, batch: Batch) -> Tensor: ...

    @overload
    def forward(self, batch: Batch, ctc: Literal[True]) -> JointScores: ...

    def forward(self, batch: Batch, ctc: bool = False) -> Tensor | JointScores:
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
    def decode(self, batch: Batch, decoding: Decoding, tap: Tap) -> Decoded:
        """Answers by a way of decoding, the best first; `tap`, not yet open, gives their map."""
        memory = self.memory(self.reader(batch), self.max_length)
        return decoding(self.decoder, memory, self.max_length, tap)


def shifted(answer: Tensor) -> Tensor:
    """What the decoder reads: the begin mark, then the answer without its last unit."""
    begin = torch.full_like(answer[:, :1], BOS)
    return torch.cat([begin, answer[:, :-1]], 1)  # batch x length
