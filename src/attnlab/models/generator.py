"""`Generator`: answers with units, one after the other."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from attnlab.data.batch import Batch
from attnlab.data.vocabulary import BOS, EOS, PAD
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
    ) -> None:
        super().__init__()
        self.reader, self.prediction, self.decoder = reader, prediction, decoder
        self.max_length = max_length

    def forward(self, batch: Batch) -> Tensor:
        """Scores of each unit of the gold answer, given those before: batch x length x units."""
        units = batch.answer.values
        return self.decoder(shifted(units), self.memory(batch, units.shape[1]))

    def memory(self, batch: Batch, length: int) -> Memory:
        """What the decoder attends to while it writes so many units."""
        reading = self.reader(batch)
        return self.prediction(reading, length) if self.prediction else reading.memory

    @torch.no_grad()
    def answer(self, batch: Batch) -> Tensor:
        """The most likely unit at every step (greedy): batch x length, ending with the end mark."""
        state = self.decoder.start(self.memory(batch, self.max_length))
        units = batch.index.new_full((len(batch),), BOS)
        ended = torch.zeros_like(units, dtype=torch.bool)
        answers: list[Tensor] = []
        for _ in range(self.max_length):
            units = self.decoder.step(units, state).argmax(-1).masked_fill(ended, PAD)
            answers.append(units)
            ended = ended | (units == EOS)
            if ended.all():
                break
        return torch.stack(answers, 1)


def shifted(answer: Tensor) -> Tensor:
    """What the decoder reads: the begin mark, then the answer without its last unit."""
    begin = torch.full_like(answer[:, :1], BOS)
    return torch.cat([begin, answer[:, :-1]], 1)  # batch x length
