"""Runs against the first of them: differences of figures on the same examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from attnlab.metrics.intervals import interval, two_sided_p

GROUPS = ("answer", "attention", "trust")
Columns = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Difference:
    """A figure of a run less that of the first run."""

    run: int
    group: str
    figure: str
    difference: float
    low: float | None  # 95 % interval; None where examples are not the same
    high: float | None
    p: float | None


def differences(
    figures: Sequence[Mapping[str, Any]], resamples: Sequence[Columns], ids: Sequence[Sequence[str]]
) -> list[Difference]:
    """The difference of every run from the first, in each figure that both have.

    Runs on the same test examples have the same resamples of them, row by row, so that
    differences of rows are a paired bootstrap.

    Args:
        figures: metrics.json of every run.
        resamples: the columns of its resamples.csv.
        ids: its test examples.
    """
    result: list[Difference] = []
    for run in range(1, len(figures)):
        paired = bool(ids[run]) and list(ids[run]) == list(ids[0])
        for group, name in _shared(figures[0], figures[run]):
            mean = figures[run][group][name] - figures[0][group][name]
            column = f"trust/{name}" if group == "trust" else name
            low, high, p = (
                _paired(mean, resamples[run].get(column), resamples[0].get(column))
                if paired
                else (None, None, None)
            )
            result.append(Difference(run, group, name, mean, low, high, p))
    return result


def _shared(first: Mapping[str, Any], other: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        (group, name)
        for group in GROUPS
        for name, value in first[group].items()
        if value is not None and other[group].get(name) is not None
    ]


def _paired(
    mean: float, ours: Sequence[str] | None, theirs: Sequence[str] | None
) -> tuple[float | None, float | None, float | None]:
    """Low, high and p of a difference; None where a run has no resamples."""
    if not ours or not theirs:
        return None, None, None
    differences = np.array(ours, float) - np.array(theirs, float)
    differences = differences[np.isfinite(differences)]
    if not len(differences):
        return None, None, None
    between = interval(mean, differences, confidence=0.95)
    return between.low, between.high, two_sided_p(differences)
