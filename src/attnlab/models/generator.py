"""`Generator`: answers with units, one after the other."""

from __future__ import annotations

from typing import Literal, NamedTuple, overload

import torch
from torch import Tensor, nn

from attnlab.attention.probes import Tap
from attnlab.data.batch import Batch
from attnlab.data.vocabulary import BOS
from attnlab.models.builder import Decoder
from attnlab.models.ctc import Heard, Hearing
from attnlab.models.decoding import Decoded, Decoding, Greedy
from attnlab.models.dropout import UnitDropout
from attnlab.models.memory import Memory
from attnlab.models.prediction import AttentionPrediction
from attnlab.models.reader import Reader, Reading


class Spoken(NamedTuple):
    """What a decoder says of an answer, and what the encoder alone has heard of it."""

    scores: Tensor  # batch x length x units
    heard: Heard


class Generator(nn.Module):
    """A decoder that attends to what was read, or to what a prediction took from it."""

    def __init__(
        self,
        reader: Reader,
        prediction: AttentionPrediction | None,
        decoder: Decoder,
        max_length: int,
        map_: str,
        unit_dropout: float,
        hearing: Hearing | None = None,
    ) -> None:
        super().__init__()
        self.reader, self.prediction, self.decoder = reader, prediction, decoder
        self.max_length, self.map = max_length, map_
        self.shown = UnitDropout(unit_dropout)
        self.hearing = hearing  # where units are also told from the encoder's steps
        self.decoding: Decoding = Greedy()  # while training; who loads a model for use sets another

    @overload
    def forward(self, batch: Batch) -> Tensor: ...

    @overload
    def forward(self, batch: Batch, hearing: Literal[True]) -> Spoken: ...

    def forward(self, batch: Batch, hearing: bool = False) -> Tensor | Spoken:
        """Scores of each unit of the gold answer, given those before: batch x length x units."""
        units, reading = batch.answer.values, self.reader(batch)
        scores = self.decoder(self.shown(shifted(units)), self.memory(reading, units.shape[1]))
        if not hearing:
            return scores
        assert self.hearing is not None
        return Spoken(scores, self.hearing(reading.memory))

    def memory(self, reading: Reading, length: int) -> Memory:
        """What the decoder attends to while it writes so many units."""
        return self.prediction(reading, length) if self.prediction else reading.memory

    def answer(self, batch: Batch) -> Tensor:
        """The best answer: batch x length, ending with the end mark."""
        return self.decode(batch).units[:, 0]

    @torch.no_grad()
    def decode(self, batch: Batch) -> Decoded:
        """Answers by the way of decoding that is set, the best first."""
        memory = self.memory(self.reader(batch), self.max_length)
        return self.decoding(self.decoder, memory, self.max_length, Tap(self, self.map))


def shifted(answer: Tensor) -> Tensor:
    """What the decoder reads: the begin mark, then the answer without its last unit."""
    begin = torch.full_like(answer[:, :1], BOS)
    return torch.cat([begin, answer[:, :-1]], 1)  # batch x length
