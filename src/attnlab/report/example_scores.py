"""The figures of every test example and of every bootstrap resample, as tables.

`per_example.csv` has a row for each example. `resamples.csv` has a row for each draw of examples:
two runs judged on the same examples drew the same ones, so that the differences of their rows are
the paired bootstrap of any figure, also of those that are no mean (BLEU, F1).
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from torch import nn

from attnlab.metrics.intervals import Values, resampled_sums
from attnlab.metrics.pooled import PooledMetric, ratio
from attnlab.metrics.text import Changed

PER_EXAMPLE, RESAMPLES = "per_example.csv", "resamples.csv"
DRAWS = 1000

Table = Mapping[str, Sequence[object] | Values]


def save_scores(
    folder: Path,
    ids: Sequence[str],
    losses: Sequence[tuple[float, float]],
    metrics: Iterable[nn.Module],
    changed: Mapping[str, Changed],
) -> None:
    """Both tables. A loss is the sum over an example's places and how many those are; `changed`
    compares the answers under other maps with the model's own.
    """
    pooled = [m for m in metrics if isinstance(m, PooledMetric) and len(m.examples)]
    sums = np.array(losses, float)  # examples x (sum, places)
    for name, drawn in ((PER_EXAMPLE, _as_they_are), (RESAMPLES, _resampled)):
        table: dict[str, Sequence[object] | Values] = {}
        if name == PER_EXAMPLE:
            table["id"] = ids
        chosen = drawn(sums)
        table["loss"] = ratio(chosen[:, 0], chosen[:, 1])
        for metric in pooled:
            figures = metric.score(drawn(metric.statistics()))  # rows x figures
            table |= {figure: figures[:, i] for i, figure in enumerate(metric.figures)}
        for change, metric in changed.items():
            table[f"trust/{change}"] = metric.score(drawn(metric.statistics()))[:, 0]
        write_table(table, folder / name)


def _as_they_are(statistics: Values) -> Values:
    return statistics


def _resampled(statistics: Values) -> Values:
    """Resampled sums: the same resamples for every metric and every run with as many examples."""
    return resampled_sums(statistics, DRAWS, seed=0)


def write_table(table: Table, path: Path) -> None:
    """Columns by name, with six digits."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(table)
        for row in zip(*table.values(), strict=True):
            writer.writerow([f"{v:.6g}" if isinstance(v, float) else v for v in row])


def read_table(path: Path) -> dict[str, list[str]]:
    """Columns by name; none where there is no file."""
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {name: [row[name] for row in rows] for name in rows[0]} if rows else {}
