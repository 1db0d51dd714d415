"""`Extract`: the answer is a unit of the input."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from attnlab.attention.taps import Tap
from attnlab.data.batch import Batch
from attnlab.data.example import Example
from attnlab.metrics.text import ExactMatch, Rouge
from attnlab.models.pooling import Pooling
from attnlab.tasks.choices import ChoiceTask
from attnlab.tasks.task import HeadContext


class Extractor(nn.Module):
    """Answers with one of the units of its input (pointer networks, Vinyals et al. 2015)."""

    def __init__(self, context: HeadContext) -> None:
        super().__init__()
        self.reader = context.reader
        self.pooling = Pooling(context.builder, context.attention)

    def forward(self, batch: Batch) -> Tensor:
        """Logarithm of the weights, the mean over heads: batch x 1 x keys."""
        reading = self.reader(batch)
        with Tap(self, "pooling/heads=mean") as tap:
            self.pooling(reading.memory, reading.query_seed)
        return tap.log_weights()[:, 0]

    @torch.no_grad()
    def answer(self, batch: Batch) -> Tensor:
        """The number of the unit with the greatest weight: batch x 1."""
        return self(batch).argmax(-1)


class Extract(ChoiceTask):
    """A choice among the keys of the map."""

    def head(self, context: HeadContext) -> nn.Module:
        return Extractor(context)

    def metrics(self) -> list[Metric]:
        return [Rouge(stem=False), ExactMatch()]

    def update_metrics(
        self, metrics: Iterable[Any], batch: Batch, scores: Tensor, answers: Tensor
    ) -> None:
        """The text against the references, and the unit against the right one."""
        texts, right = self.texts(answers, batch), self.texts(batch.answer.values, batch)
        for metric in metrics:
            compared = isinstance(metric, Rouge) and any(batch.references)
            metric.update(texts, batch.references if compared else right)

    def texts(self, answers: Tensor, batch: Batch) -> list[str]:
        chosen = zip(batch.choices, answers[:, 0].tolist(), strict=True)
        return [choices[int(number)] for choices, number in chosen]

    def controls(
        self, batch: Batch, scores: Tensor, examples: Sequence[Example]
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """The first unit, and the right one."""
        right = batch.answer.values
        return {"lead": (scores, torch.zeros_like(right)), "oracle": (scores, right)}
