"""`Figure`: what is known about each figure, and `Interval`: where it would lie on other examples.

Percentile intervals (Efron 1979), of shares that are 0 or 1 Wilson's (1927); for two systems on
the same examples, paired (Koehn 2004).
"""

from __future__ import annotations

import importlib
import math
import pkgutil
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

import attnlab.metrics

NEAR = 0.0005  # differences below it are not shown
Values = npt.NDArray[np.float64]
Score = Callable[[Values], Values]  # sums of statistics, ... x statistics -> a figure for each


@dataclass(frozen=True)
class Figure:
    """One figure of a metric, as tables, reports and the glossary explain it."""

    name: str  # `k` in it stands for a number: hr@k
    help: str  # one sentence: what it is
    higher_is_better: bool | None = True  # None: it describes, and neither way is better
    uniform: str = ""  # what a uniform map, or an answer that knows nothing, scores
    perfect: str = "1"
    note: str = ""  # stands behind the name in tables: how it differs from what people expect

    def sentence(self) -> str:
        """The help, what uninformed and perfect maps score, and which way is better."""
        known = [f"uniform: {self.uniform}"] if self.uniform else []
        known += [f"perfect: {self.perfect}"] if self.perfect else []
        direction = {True: "higher is better", False: "lower is better", None: "no better way"}
        return f"{self.help} ({'; '.join([*known, direction[self.higher_is_better]])})"

    @property
    def is_bounded(self) -> bool:
        """Whether it lies between 0 and 1: 1 is best, or its sentence says that it is a share."""
        best = self.higher_is_better is True and self.perfect == "1"
        return best or self.help.startswith("Share of")

    def falls_short(self, best: float) -> bool:
        """Whether the best score that can be reached is not that of a perfect map."""
        return self.perfect in ("0", "1") and abs(best - float(self.perfect)) > NEAR

    def plain(self) -> dict[str, object]:
        """As JSON holds it; the name is its key there."""
        return {key: value for key, value in asdict(self).items() if key != "name"}


KNOWN: dict[str, Figure] = {}  # every figure of the metrics that are imported


def declare(*figures: Figure) -> None:
    """Make figures known by name; metric classes do so with their `about`."""
    KNOWN.update({figure.name: figure for figure in figures})


def facts(name: str) -> Figure | None:
    """What is known about a figure, such as `aer`, `hr@10` or `attention/aer`; None if nothing."""
    name = re.sub(r"@\d+$", "@k", name.rpartition("/")[-1])
    if name not in KNOWN:
        import_metrics()
    return KNOWN.get(name)


def import_metrics() -> None:
    """Import every module of metrics, so that all built-in figures are known."""
    for module in pkgutil.iter_modules(attnlab.metrics.__path__, "attnlab.metrics."):
        importlib.import_module(module.name)


declare(
    Figure("loss", "The task's loss, a mean over units", False, perfect=""),
    Figure("train_seconds", "Seconds of training", False, perfect=""),
    Figure(
        "peak_memory_mib", "The most memory at one moment of training, in MiB", False, perfect=""
    ),
    Figure("parameters", "Weights of the model that are stored", False, perfect=""),
    Figure("trained_parameters", "Weights that training changed", False, perfect=""),
)


@dataclass(frozen=True)
class Interval:
    """A figure and where it would lie had other examples (or seeds) been drawn."""

    mean: float  # the figure on the data as they are
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def bootstrap(
    values: npt.ArrayLike, confidence: float = 0.95, resamples: int = 1000, seed: int = 0
) -> Interval:
    """The interval of a mean of one value for each example, or for each seed."""
    column = np.asarray(values, np.float64).reshape(-1, 1)
    return bootstrap_pooled(column, _first, confidence, resamples, seed, mean=True)


def bootstrap_seeds(
    values: npt.ArrayLike, confidence: float = 0.95, resamples: int = 1000, seed: int = 0
) -> Interval:
    """The interval of the mean over seeds and examples: seeds x examples.

    Seeds are drawn first, then the examples, the same ones for every seed, because every seed
    was evaluated on the same examples.
    """
    table = np.asarray(values, np.float64)
    seeds, examples = table.shape
    random = np.random.default_rng(seed)
    means = np.empty(resamples)
    for i in range(resamples):
        rows = random.integers(seeds, size=seeds)
        columns = random.integers(examples, size=examples)
        means[i] = table[np.ix_(rows, columns)].mean()
    return interval(float(table.mean()), means, confidence)


def bootstrap_pooled(
    statistics: npt.ArrayLike,
    score: Score,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
    *,
    mean: bool = False,
) -> Interval:
    """The interval of a corpus figure, by resampling its sufficient statistics.

    `statistics` is examples x statistics; `score` turns their sums (with `mean`, their means)
    into the figure. Resampling a mean of example scores instead would answer another question.
    """
    table = np.asarray(statistics, np.float64)
    sums = resampled_sums(table, resamples, seed)  # resamples x statistics
    scale = 1 / len(table) if mean else 1.0
    return interval(float(score(table.sum(0) * scale)), score(sums * scale), confidence)


def paired_bootstrap(
    system: npt.ArrayLike,
    baseline: npt.ArrayLike,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[Interval, float]:
    """The mean difference of two systems on the same examples, and a two-sided p-value.

    The p-value is twice the share of resamples in which the difference changes its sign, with
    one added to both counts so that it is never zero.
    """
    difference = np.asarray(system, np.float64) - np.asarray(baseline, np.float64)
    means = resampled_sums(difference.reshape(-1, 1), resamples, seed)[:, 0] / len(difference)
    mean = float(difference.mean())
    return interval(mean, means, confidence), two_sided_p(means)


def two_sided_p(differences: Values) -> float:
    """Twice the share of resampled differences that have the other sign, never zero."""
    turned = min((differences <= 0).sum(), (differences >= 0).sum())
    return float(min(1.0, 2 * (turned + 1) / (len(differences) + 1)))


def resampled_sums(table: Values, resamples: int, seed: int) -> Values:
    """Sums over examples drawn with replacement: resamples x statistics."""
    examples = len(table)
    random = np.random.default_rng(seed)
    sums = np.empty((resamples, table.shape[1]))
    for i in range(resamples):  # a loop: resamples x examples would not fit for large test sets
        drawn = np.bincount(random.integers(examples, size=examples), minlength=examples)
        sums[i] = drawn @ table
    return sums


def _first(sums: Values) -> Values:
    return sums[..., 0]


def interval(mean: float, resampled: Values, confidence: float) -> Interval:
    """A figure and the percentiles of its resampled values."""
    finite = resampled[np.isfinite(resampled)]
    if not len(finite):
        return Interval(mean, float("nan"), float("nan"))
    tail = (1 - confidence) / 2
    low, high = np.quantile(finite, [tail, 1 - tail])
    return Interval(mean, float(low), float(high))


def share_interval(share: float, cases: int, confidence: float = 0.95) -> Interval:
    """The interval of a share of cases (Wilson 1927), which has a width at 0 and 1, too."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    middle = (share + z * z / (2 * cases)) / (1 + z * z / cases)
    half = math.sqrt(share * (1 - share) / cases + (z / (2 * cases)) ** 2) / (1 + z * z / cases) * z
    # Rounding would leave ends beside 0 and 1.
    low = 0.0 if share == 0 else middle - half
    return Interval(share, low, 1.0 if share == 1 else middle + half)


def with_width(found: Interval, cases: int, confidence: float = 0.95) -> Interval:
    """The interval of a bounded figure; where all resamples are 0, or all 1, Wilson's interval."""
    alike = found.low == found.high and found.mean in (0, 1)
    return share_interval(found.mean, cases, confidence) if alike else found


def defined(figures: Any) -> Any:
    """The same figures with null for those that are not finite: JSON has no NaN and no infinity."""
    if isinstance(figures, dict):
        return {name: defined(value) for name, value in figures.items()}
    if isinstance(figures, list):
        return [defined(value) for value in figures]
    return None if isinstance(figures, float) and not math.isfinite(figures) else figures
