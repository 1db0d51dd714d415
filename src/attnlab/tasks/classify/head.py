"""`Classifier`: answers with a label, from what pooling returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from attnlab.config.attention import AttentionConfig
from attnlab.data.batch import Batch
from attnlab.models.builder import ModelBuilder
from attnlab.models.memory import Reader, Reading
from attnlab.models.pooling import AttentionPrediction, Hops, Pooling


class Classifier(nn.Module):
    """Scores of choices from the pooled memory."""

    def __init__(
        self,
        reader: Reader,
        prediction: AttentionPrediction | None,
        builder: ModelBuilder,
        attention: AttentionConfig,
        output: nn.Module,
        hops: int = 1,
        members: Mapping[int, Sequence[int]] | None = None,
    ) -> None:
        super().__init__()
        self.reader, self.prediction = reader, prediction
        self.pooling = Pooling(builder, attention) if hops == 1 else Hops(builder, attention, hops)
        self.output, self.members = output, members  # of labels that are merged

    def forward(self, batch: Batch) -> Tensor:
        """Scores of the labels: batch x 1 x labels."""
        return self.output(self.pooled(self.reader(batch)))

    def pooled(self, reading: Reading) -> Tensor:
        """batch x 1 x dim."""
        memory = self.prediction(reading, 1) if self.prediction else reading.memory
        return self.pooling(memory, reading.query_seed)

    def choices(self, batch: Batch) -> Tensor:
        """Scores of what may be the answer: batch x labels, -inf where one may not."""
        scores = self(batch)[:, -1]
        return scores if self.members is None else merged_scores(scores, self.members)

    @torch.no_grad()
    def answer(self, batch: Batch) -> Tensor:
        """The most likely label: batch x 1."""
        return self.choices(batch).argmax(-1, keepdim=True)


def merged_scores(scores: Tensor, members: Mapping[int, Sequence[int]]) -> Tensor:
    """Scores (batch x labels) with the probability of all members at the label they merge into."""
    together = torch.full_like(scores, -torch.inf)
    for label, merged in members.items():
        together[:, label] = scores[:, merged].logsumexp(-1)
    return together
