"""`Finding`: a figure of one test, with its verdict; and how far explanations agree."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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

UNKNOWN = Interval(math.nan, math.nan, math.nan)
LITTLE, MUCH = 0.05, 0.5  # shares of changed answers between which the map takes part

Scores = Mapping[str, Tensor]  # by method: batch x queries x keys


@dataclass(frozen=True)
class Finding:
    """One figure of one test, over all examples."""

    test: str
    figure: str
    value: Interval
    verdict: str = ""  # of the test, beside the first of its figures
    known: dict[str, float] = field(default_factory=dict)  # the same figure for controls and limits
    undefined: int = 0  # decisions without such a figure


def over_examples(values: Sequence[Tensor]) -> Interval:
    """The mean over examples with its interval, from one tensor (examples) for each batch."""
    return interval_of(torch.cat(list(values)).double().tolist())


def who_decides(share: float) -> str:
    """The verdict on a share of changed answers."""
    if share < LITTLE:
        return "the attention is not what decides"
    if share < MUCH:
        return "the attention takes part in the decision"
    return "the attention decides"


def percent(share: float) -> str:
    """A share in percent."""
    return f"{100 * share:.0f}%" if share == 0 or share >= 0.01 else f"{100 * share:.1f}%"


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
