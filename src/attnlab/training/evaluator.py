"""`Evaluator`: how good the answers are and how right the map is, over a whole split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from attnlab.data.batch import Batch
from attnlab.data.target_batch import TargetBatch
from attnlab.metrics.pooled import MapMetric
from attnlab.tasks.task import Task


class MeanLoss(Metric):
    """The task's loss, a mean over units; NaN if that of any batch is.

    torchmetrics' `MeanMetric` would leave such a batch out.
    """

    full_state_update = False
    total: Tensor
    units: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("total", "units"):
            self.add_state(name, torch.zeros((), dtype=torch.double), dist_reduce_fx="sum")

    def update(self, sums: Tensor, counts: Tensor) -> None:
        """Add the losses of some examples, and over how many units each is a sum."""
        self.total += sums.double().sum()
        self.units += counts.sum()

    def compute(self) -> Tensor:
        return self.total / self.units


class Evaluator(nn.Module):
    """Figures of one split; holds sums that every process adds to."""

    def __init__(self, task: Task, maps: Sequence[MapMetric]) -> None:
        super().__init__()
        self.task = task
        self.loss = MeanLoss()
        self.answers = nn.ModuleList(task.metrics())
        self.maps = nn.ModuleList(maps)

    def update(self, batch: Batch, scores: Any, answers: Tensor, weights: Tensor | None) -> None:
        """Scores and answers as the model gives them, weights batch x queries x keys.

        Weights may be None where there is no figure of maps.
        """
        self.loss.update(*self.task.losses(scores, batch))
        self.task.update_metrics(self.answers, batch, scores, answers)
        if weights is not None:
            self.update_maps(batch.over_words(weights), batch.target_over_words)

    def update_maps(self, weights: Tensor, gold: TargetBatch) -> None:
        """Update the figures of maps alone."""
        for metric in self.maps:
            metric.update(weights, gold)  # type: ignore[operator]

    def update_best(self, gold: TargetBatch) -> None:
        """Add the best that any map reaches by each figure: the oracle control."""
        for metric in self.maps:
            metric.update_best(gold)  # type: ignore[operator]

    def compute(self) -> dict[str, float]:
        """Every figure by name; those of maps are named `attention/...`."""
        figures = {"loss": float(self.loss.compute())}
        for metric in self.answers:
            figures |= metric.compute()  # type: ignore[operator]
        return figures | {f"attention/{k}": v for k, v in self.compute_maps().items()}

    def names(self) -> list[str]:
        """The names of all figures."""
        answers, maps = (
            [name for metric in metrics for name in metric.figures]  # type: ignore[union-attr]
            for metrics in (self.answers, self.maps)
        )
        return ["loss", *answers, *(f"attention/{name}" for name in maps)]

    def compute_maps(self) -> dict[str, float]:
        figures: dict[str, float] = {}
        for metric in self.maps:
            assert isinstance(metric, MapMetric)
            figures |= metric.compute()
        return figures

    def reset(self) -> None:
        for metric in (self.loss, *self.answers, *self.maps):
            metric.reset()  # type: ignore[operator]
