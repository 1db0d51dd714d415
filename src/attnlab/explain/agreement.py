"""How far explanations agree: with gold, and with each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from attnlab.data.target_batch import TargetBatch
from attnlab.explain.subject import Subject
from attnlab.metrics.correlation import kendall
from attnlab.metrics.intervals import Interval, bootstrap
from attnlab.metrics.rationale import AveragePrecision

Scores = Mapping[str, Tensor]  # by method: batch x queries x keys


@dataclass
class Agreement:
    """Average precision against gold, and Kendall's tau between every two methods.

    Average precision ranks units by their signed scores; tau compares absolute scores. Both keep
    one value an example.
    """

    gold: dict[str, AveragePrecision] = field(default_factory=dict)
    taus: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    undefined: dict[tuple[str, str], int] = field(default_factory=dict)

    def update(self, scores: Scores, subject: Subject, target: TargetBatch) -> None:
        for name, values in scores.items():
            metric = self.gold.setdefault(name, AveragePrecision())
            metric.update(with_rows(values, target.weights.shape[1]), target)
        for pair in combinations(scores, 2):
            self._compare(pair, scores, subject)

    def against_gold(self) -> dict[str, Interval]:
        """Average precision by method; empty where no example has gold."""
        figures = {n: m.intervals()["average_precision"] for n, m in self.gold.items()}
        return {name: each for name, each in figures.items() if np.isfinite(each.mean)}

    def between(self) -> dict[tuple[str, str], tuple[Interval, int]]:
        """Tau of each pair, with the number of decisions without one."""
        return {pair: (interval_of(taus), self.undefined[pair]) for pair, taus in self.taus.items()}

    def _compare(self, pair: tuple[str, str], scores: Scores, subject: Subject) -> None:
        means, undefined = magnitude_taus(scores[pair[0]], scores[pair[1]], subject)
        self.taus.setdefault(pair, []).extend(means)
        self.undefined[pair] = self.undefined.get(pair, 0) + undefined


def magnitude_taus(one: Tensor, other: Tensor, subject: Subject) -> tuple[list[float], int]:
    """Tau-b of the absolute scores: the mean of each example, and the number of NaN decisions.

    Tau is not defined where one side is constant.
    """
    taus = kendall(one.abs(), other.abs(), subject.cells)  # batch x queries
    defined = subject.decisions & ~taus.isnan()
    total = torch.where(defined, taus, 0.0).sum(1) / defined.sum(1)
    return total.tolist(), int((subject.decisions & taus.isnan()).sum())


def interval_of(values: list[float]) -> Interval:
    """The mean over the examples that have a value, and its bootstrap interval."""
    finite = [value for value in values if np.isfinite(value)]
    return bootstrap(finite) if finite else Interval(float("nan"), float("nan"), float("nan"))


def with_rows(scores: Tensor, rows: int) -> Tensor:
    """Scores cut or padded to as many rows as gold has."""
    missing = rows - scores.shape[1]
    return torch.nn.functional.pad(scores, (0, 0, 0, missing))  # a negative padding cuts
