"""`PooledMetric`: a figure made from sums over the whole corpus, kept example by example.

Keeping every example's sufficient statistics (a few numbers each) gives three things at once:
the corpus figure, the same figure in distributed runs, and its bootstrap interval.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from attnlab.data.target_batch import TargetBatch
from attnlab.metrics.intervals import Interval, Values, interval, resampled_sums


class PooledMetric(Metric, ABC):
    """A subclass says what to count for an example, and what figures the sums make.

    `compute` gives a figure by name; the first of `figures` is the one the metric is named for.
    """

    full_state_update = False
    higher_is_better: bool | None = True
    figures: tuple[str, ...]  # names of the figures, in the order in which `score` gives them
    examples: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("examples", default=[], dist_reduce_fx="cat")

    @abstractmethod
    def score(self, sums: Values) -> Values:
        """Figures from sums of statistics: ... x statistics -> ... x figures."""

    def keep(self, statistics: Tensor) -> None:
        """Add the statistics of some examples: examples x statistics."""
        self.examples.append(statistics.double())

    def statistics(self) -> Values:
        """All that was kept: examples x statistics."""
        # One tensor already where the states of several processes were brought together.
        kept = self.examples if isinstance(self.examples, Tensor) else torch.cat(self.examples)
        return kept.cpu().numpy()

    def compute(self) -> dict[str, float]:
        if not len(self.examples):
            return dict.fromkeys(self.figures, float("nan"))
        figures = self.score(self.statistics().sum(0))
        return dict(zip(self.figures, figures.tolist(), strict=True))

    def intervals(
        self, confidence: float = 0.95, resamples: int = 1000, seed: int = 0
    ) -> dict[str, Interval]:
        """Every figure with its bootstrap interval over the examples of all processes.

        Where there are several, each has to call it.
        """
        with self.sync_context():
            table = self.statistics()
        now = self.score(table.sum(0))
        drawn = self.score(resampled_sums(table, resamples, seed))  # resamples x figures
        return {
            name: interval(float(now[i]), drawn[:, i], confidence)
            for i, name in enumerate(self.figures)
        }


class MapMetric(PooledMetric):
    """A metric of maps: `update(weights, target)`, one map (batch x queries x keys) an example.

    Weights are non-negative; what lies outside the key mask is left out before counting.
    """

    def update(self, weights: Tensor, target: TargetBatch) -> None:
        self.keep(self.count(weights.double() * target.keys(), target))

    @abstractmethod
    def count(self, weights: Tensor, target: TargetBatch) -> Tensor:
        """The statistics of each example: batch x statistics."""


class RowMetric(MapMetric):
    """The mean of a value over all annotated rows of the corpus.

    A row whose value is not defined (a correlation with a constant) is NaN: it is left out of the
    mean, and the share of such rows is a figure of its own.
    """

    name: str
    may_be_undefined = False

    def __init__(self) -> None:
        super().__init__()
        undefined = (f"{self.name}_undefined",) if self.may_be_undefined else ()
        self.figures = (self.name, *undefined)

    @abstractmethod
    def values(self, weights: Tensor, target: TargetBatch) -> Tensor:
        """The value of each row, NaN where there is none: batch x queries."""

    def rows(self, target: TargetBatch) -> Tensor:
        """Which rows count: batch x queries, bool."""
        return target.rows()

    def count(self, weights: Tensor, target: TargetBatch) -> Tensor:
        rows = self.rows(target)
        values = self.values(weights, target)
        defined = rows & ~values.isnan()
        total = torch.where(defined, values, 0.0).sum(-1)
        return torch.stack([total, defined.sum(-1), (rows & ~defined).sum(-1)], dim=-1)

    def score(self, sums: Values) -> Values:
        total, defined, undefined = sums[..., 0], sums[..., 1], sums[..., 2]
        figures = [ratio(total, defined)]
        if self.may_be_undefined:
            figures.append(ratio(undefined, defined + undefined))
        return np.stack(figures, axis=-1)


def ratio(numerator: Values, denominator: Values, empty: float = float("nan")) -> Values:
    """The quotient, or `empty` where the denominator is zero."""
    numerator, denominator = np.asarray(numerator, float), np.asarray(denominator, float)
    filled = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), empty)
    return np.divide(numerator, denominator, out=filled, where=denominator != 0)
