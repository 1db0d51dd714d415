"""`Generator`: answers with units, one after the other."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from attnlab.attention.probes import Tap
from attnlab.data.batch import Batch
from attnlab.data.vocabulary import BOS
from attnlab.models.decoding import Decoded, Decoding, Greedy
from attnlab.models.memory import Memory
from attnlab.models.parts import Decoder
from attnlab.models.prediction import AttentionPrediction
from attnlab.models.reader import Reader


class Generator(nn.Module):
    """A decoder that attends to what was read, or to what a prediction took from it."""

    def __init__(
        self,
        reader: Reader,
        prediction: AttentionPrediction | None,
        decoder: Decoder,
        max_length: int,
        map_: str,
    ) -> None:
        super().__init__()
        self.reader, self.prediction, self.decoder = reader, prediction, decoder
        self.max_length, self.map = max_length, map_
        self.decoding: Decoding = Greedy()  # while training; who loads a model for use sets another

    def forward(self, batch: Batch) -> Tensor:
        """Scores of each unit of the gold answer, given those before: batch x length x units."""
        units = batch.answer.values
        return self.decoder(shifted(units), self.memory(batch, units.shape[1]))

    def memory(self, batch: Batch, length: int) -> Memory:
        """What the decoder attends to while it writes so many units."""
        reading = self.reader(batch)
        return self.prediction(reading, length) if self.prediction else reading.memory

    def answer(self, batch: Batch) -> Tensor:
        """The best answer: batch x length, ending with the end mark."""
        return self.decode(batch).units[:, 0]

    @torch.no_grad()
    def decode(self, batch: Batch) -> Decoded:
        """Answers by the way of decoding that is set, the best first."""
        memory = self.memory(batch, self.max_length)
        return self.decoding(self.decoder, memory, self.max_length, Tap(self, self.map))


def shifted(answer: Tensor) -> Tensor:
    """What the decoder reads: the begin mark, then the answer without its last unit."""
    begin = torch.full_like(answer[:, :1], BOS)
    return torch.cat([begin, answer[:, :-1]], 1)  # batch x length
