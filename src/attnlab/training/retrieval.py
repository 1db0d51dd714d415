"""`Retrieve`: which of many texts answers; the others of a batch are the wrong choices."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from attnlab.data.batch import Batch
from attnlab.metrics.recommendation import Recommendation
from attnlab.training.tasks import Task

CUTOFFS = (1, 10)  # ranks at which a ranking is judged


class Retrieve(Task):
    """The answer is the right one among the texts of its batch (Henderson et al. 2019).

    So `trainer.batches.eval_size` says how many there are to choose from: 100 of them give what is
    known as 1-of-100 accuracy, here hr@1.
    """

    def gold(self, batch: Batch) -> Tensor:
        """The place of each question's own answer: batch x 1."""
        return torch.arange(len(batch), device=batch.index.device)[:, None]

    def metrics(self) -> list[Metric]:
        return [Recommendation(CUTOFFS)]

    def judge(self, metrics: Iterable[Any], batch: Batch, scores: Tensor, answers: Tensor) -> None:
        for metric in metrics:
            metric.update(scores[:, 0], self.gold(batch)[:, 0])
