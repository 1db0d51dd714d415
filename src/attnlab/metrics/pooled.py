"""`PooledMetric`: a figure made from sums over the whole corpus, kept example by example.

Keeping every example's sufficient statistics (a few numbers each) gives three things at once:
the corpus figure, the same figure in distributed runs, and its bootstrap interval.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from attnlab.config.evaluation import MapMetrics
from attnlab.data.target_batch import TargetBatch
from attnlab.metrics.controls import PositionPrior
from attnlab.metrics.figures import (
    Figure,
    Interval,
    Values,
    declare,
    facts,
    interval,
    resampled_sums,
    with_width,
)


class DescribedMetric(Metric, ABC):
    """A metric that says what its figures mean; the first of `about` is the headline.

    `compute` and `intervals` give every figure by its name.
    """

    full_state_update = False
    about: tuple[Figure, ...] = ()
    figures: tuple[str, ...]  # names, taken from `about` unless the metric sets its own

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "about" in cls.__dict__:
            declare(*cls.about)
            cls.figures = tuple(figure.name for figure in cls.about)
            cls.higher_is_better = cls.about[0].higher_is_better


class PooledMetric(DescribedMetric):
    """A subclass says what to count for an example, and what figures the sums make."""

    examples: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("examples", default=[], dist_reduce_fx="cat")

    @abstractmethod
    def score(self, sums: Values) -> Values:
        """Figures, in their order, from sums of statistics: ... x statistics -> ... x figures."""

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

    def by_class(self) -> dict[str, list[Any]]:
        """The figures of each class, as columns; none where the metric has no classes."""
        return {}

    def intervals(
        self, confidence: float = 0.95, resamples: int = 1000, seed: int = 0
    ) -> dict[str, Interval]:
        """Every figure with its bootstrap interval over the examples of all processes.

        Where all examples are alike, resampling has no width: a figure of 0 or 1 has Wilson's
        interval then. Where there are several processes, each has to call it.
        """
        with self.sync_context():
            table = self.statistics()
        now = self.score(table.sum(0))
        drawn = self.score(resampled_sums(table, resamples, seed))  # resamples x figures
        found = {}
        for i, name in enumerate(self.figures):
            found[name] = interval(float(now[i]), drawn[:, i], confidence)
            fact = facts(name)
            if fact is not None and fact.is_bounded:
                found[name] = with_width(found[name], len(table), confidence)
        return found


class MapMetric(PooledMetric):
    """A metric of maps: `update(weights, target)`, one map (batch x queries x keys) an example.

    Weights are non-negative; what lies outside the key mask is left out before counting.
    """

    def update(self, weights: Tensor | None, target: TargetBatch) -> None:
        if weights is None:
            self.keep(self.best(target))
        else:
            self.keep(self.count(weights.double() * target.keys(), target))

    def update_best(self, target: TargetBatch) -> None:
        """Add the best that any map reaches on these targets: the oracle control."""
        self.update(None, target)

    @abstractmethod
    def count(self, weights: Tensor, target: TargetBatch) -> Tensor:
        """The statistics of each example: batch x statistics."""

    def best(self, target: TargetBatch) -> Tensor:
        """The statistics of the best map for this metric: batch x statistics."""
        return self.count(self.best_map(target).double() * target.keys(), target)

    def best_map(self, target: TargetBatch) -> Tensor:
        """The map that this metric rates best, by default the gold distribution."""
        return target.distribution()


class RowMetric(MapMetric):
    """The mean of a value over all annotated rows of the corpus.

    A row whose value is not defined (a correlation with a constant) is NaN: it is left out of the
    mean, and the share of such rows is a figure of its own.
    """

    may_be_undefined = False

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "about" in cls.__dict__ and cls.may_be_undefined:
            name = f"{cls.figures[0]}_undefined"
            meaning = "Share of annotated rows for which the figure is not defined: a constant map"
            declare(Figure(name, meaning, None, perfect=""))
            cls.figures = (*cls.figures, name)

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


class MarkedRowMetric(RowMetric):
    """A row metric that asks only which keys are marked, sure or possible."""

    def best_map(self, target: TargetBatch) -> Tensor:
        marks = target.marks() & target.keys()
        return marks / marks.sum(-1, keepdim=True).clamp_min(1)


def ratio(numerator: Values, denominator: Values, empty: float = float("nan")) -> Values:
    """The quotient, or `empty` where the denominator is zero."""
    numerator, denominator = np.asarray(numerator, float), np.asarray(denominator, float)
    filled = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), empty)
    return np.divide(numerator, denominator, out=filled, where=denominator != 0)


class Uniform:
    """The baseline of information gain where no position prior was fitted."""

    def weights(self, target: TargetBatch) -> Tensor:
        return torch.ones_like(target.weights)


def map_metrics(config: MapMetrics, prior: PositionPrior | None = None) -> list[MapMetric]:
    """A new metric for each figure that the config names; the prior is what IG has to beat.

    Each constructor gets those of the shared settings that it names as parameters.
    """
    shared = {
        "links": config.links.build(),
        "iou": config.iou,
        "tolerance": config.tolerance,
        "baseline": prior or Uniform(),
    }
    metrics = []
    for figure in config.figures:
        names = inspect.signature(figure.implementation()).parameters
        metrics.append(figure.build(**{n: value for n, value in shared.items() if n in names}))
    return metrics
