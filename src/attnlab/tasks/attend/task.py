"""`Attend`: the answer is the map itself."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from attnlab.attention.taps import Tap
from attnlab.attention.tensors import entropy
from attnlab.data.batch import Batch
from attnlab.metrics.agreement import KullbackLeibler
from attnlab.metrics.saliency import CorrelationCoefficient
from attnlab.models.pooling import Pooling
from attnlab.objectives.attention import as_shares, cross_entropy, reachable_gold
from attnlab.tasks.attend.answer import MapOnly
from attnlab.tasks.task import HeadContext, Task


class Attender(nn.Module):
    """Answers with its map: gaze, saliency."""

    def __init__(self, context: HeadContext, rows: int) -> None:
        super().__init__()
        self.reader = context.reader
        self.pooling = Pooling(context.builder, context.attention, rows)

    def forward(self, batch: Batch) -> Tensor:
        """Logarithm of the weights: batch x heads x rows x keys."""
        reading = self.reader(batch)
        with Tap(self, "pooling") as tap:
            self.pooling(reading.memory, reading.query_seed)
        return tap.log_weights()

    @torch.no_grad()
    def answer(self, batch: Batch) -> Tensor:
        """The weights, averaged over heads: batch x rows x keys."""
        return self(batch).exp().mean(1)


class Attend(Task):
    """The loss is the divergence of the map from gold."""

    def head(self, context: HeadContext) -> nn.Module:
        assert isinstance(self.codec.answers, MapOnly)
        return Attender(context, self.codec.answers.map_rows)

    def losses(self, scores: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Scores are log weights: batch x heads x rows x keys."""
        log_weights = as_shares(scores.float())
        gold, rows = reachable_gold(log_weights, batch.target), batch.target.rows()  # batch x rows
        divergence = (cross_entropy(log_weights, gold) - entropy(gold)).mean(1)  # batch x rows
        return (divergence * rows).sum(1), self.counts(batch)

    def counts(self, batch: Batch) -> Tensor:
        return batch.target.rows().sum(1)

    def metrics(self) -> list[Metric]:
        return [CorrelationCoefficient(), KullbackLeibler()]

    def update_metrics(
        self, metrics: Iterable[Any], batch: Batch, scores: Tensor, answers: Tensor
    ) -> None:
        for metric in metrics:
            metric.update(batch.over_words(answers), batch.target_over_words)

    def texts(self, answers: Tensor, batch: Batch) -> list[str]:
        return [""] * len(batch)
