"""`Regressor`: answers with numbers, each from the context of a query of its own."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from attnlab.config.attention import AttentionConfig
from attnlab.data.batch import Batch
from attnlab.models.builder import ModelBuilder
from attnlab.models.memory import Reader
from attnlab.models.pooling import AttentionPrediction, Pooling
from attnlab.tasks.regress.answer import Numbers


class Regressor(nn.Module):
    """A linear readout of each query's context gives a number in standard deviations."""

    def __init__(
        self,
        reader: Reader,
        prediction: AttentionPrediction | None,
        builder: ModelBuilder,
        attention: AttentionConfig,
        numbers: Numbers,
    ) -> None:
        super().__init__()
        self.reader, self.prediction, self.numbers = reader, prediction, numbers
        self.pooling = Pooling(builder, attention, len(numbers))
        self.output = nn.Linear(builder.dim, len(numbers))

    def forward(self, batch: Batch) -> Tensor:
        """Standardised numbers: batch x numbers."""
        reading = self.reader(batch)
        predicted = self.prediction
        memory = predicted(reading, len(self.numbers)) if predicted else reading.memory
        memory = memory._replace(causal=False)  # each number may use all predicted steps
        contexts = self.pooling(memory, reading.query_seed)  # batch x numbers x dim
        return self.output(contexts).diagonal(dim1=1, dim2=2)  # each query's own number

    @torch.no_grad()
    def answer(self, batch: Batch) -> Tensor:
        """Numbers in the units of the data: batch x numbers."""
        return self.numbers.restore(self(batch).float())
