"""A leaderboard: systems side by side, each the mean of its seeds and folds, ordered by answers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from attnlab.metrics.figures import Values, bootstrap, facts, interval

COLUMNS = ("quality", "plausibility", "trust", "seconds", "memory", "parameters")
COSTS = {"seconds": "train_seconds", "memory": "peak_memory_mib", "parameters": "parameters"}
SWAPS = ("permuted", "uniform")  # maps that replace the model's own
CONTROLS = ("uniform", "position", "oracle")
DONE = ("finished", "skipped")

Columns = Mapping[str, Sequence[str]]
Lower = frozenset[str]  # columns of which lower is better


@dataclass(frozen=True)
class Entry:
    """One run: a system with a seed, on a fold of the data where it is cross-validated."""

    system: str
    seed: int
    folder: str
    state: str  # in the sweep: finished, skipped, failed, stopped, ...
    error: str = ""  # why there are no figures
    log: str = ""
    figures: Mapping[str, Any] = field(default_factory=dict)  # metrics.json
    resamples: Columns = field(default_factory=dict)  # resamples.csv
    examples: Sequence[str] = ()  # ids of the test examples
    fold: int | None = None

    @property
    def repeat(self) -> str:
        """The seed and the fold, in which runs of one system differ."""
        return f"seed {self.seed}" + ("" if self.fold is None else f", fold {self.fold}")


@dataclass(frozen=True)
class Measure:
    """The mean of a figure over runs; low and high where an interval is known."""

    mean: float
    low: float | None = None
    high: float | None = None

    def holds(self, value: float) -> bool:
        """Whether a value lies in the interval."""
        return self.low is not None and self.high is not None and self.low <= value <= self.high


@dataclass(frozen=True)
class Row:
    """A system with the means of its runs."""

    system: str
    entries: tuple[Entry, ...]
    measures: dict[str, Measure]  # by column
    fronts: tuple[str, ...] = ()  # columns beside which no other system has better answers

    @property
    def evaluated(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.figures]

    @property
    def without_figures(self) -> list[Entry]:
        return [entry for entry in self.entries if not entry.figures]


@dataclass(frozen=True)
class Leaderboard:
    """Rows from the best answers to the worst, systems without any figures last."""

    rows: list[Row]
    figures: dict[str, str]  # by column: what metrics.json calls it
    controls: dict[str, float]  # plausibility of control maps
    lower: Lower

    @property
    def places(self) -> list[int]:
        """The place of each evaluated row, the same for those that are tied with the first of them.

        Two are tied whose answers are equally good, or of which each lies in the other's interval.
        """
        places: list[int] = []
        for number, row in enumerate(self.rows, 1):
            if row.evaluated:
                tied = places and _tied(self.rows[places[-1] - 1], row)
                places.append(places[-1] if tied else number)
        return places

    def place(self, number: int) -> str:
        """What stands before a row, counted from 0: `2`, `1 tied`, or nothing."""
        if number >= len(self.places):
            return ""
        place = self.places[number]
        return f"{place} tied" if self.places.count(place) > 1 else str(place)

    def is_lower_better(self, column: str) -> bool:
        return column in self.lower


def leaderboard(entries: Sequence[Entry]) -> Leaderboard:
    """Entries of the same system become one row."""
    systems: dict[str, list[Entry]] = {}
    for entry in entries:
        systems.setdefault(entry.system, []).append(entry)
    evaluated = [entry for entry in entries if entry.figures]
    figures = {
        "quality": headline_figure(evaluated, "answer"),
        "plausibility": headline_figure(evaluated, "attention"),
    }
    figures = {column: name for column, name in figures.items() if name} | COSTS
    rows = [_row(system, tuple(of), figures) for system, of in systems.items()]
    lower = _lower(figures, evaluated)
    rows.sort(key=lambda row: _order(row, lower))
    return Leaderboard(_with_fronts(rows, lower), figures, _controls(evaluated, figures), lower)


def _tied(one: Row, other: Row) -> bool:
    ours, theirs = one.measures.get("quality"), other.measures.get("quality")
    if ours is None or theirs is None:
        return False
    return ours.mean == theirs.mean or (ours.holds(theirs.mean) and theirs.holds(ours.mean))


def _lower(figures: Mapping[str, str], evaluated: Sequence[Entry]) -> Lower:
    """The columns of which lower is better, by the runs' own facts or those of the metrics."""
    about = {name: fact for e in evaluated for name, fact in e.figures.get("about", {}).items()}

    def higher_is_better(name: str) -> bool | None:
        if name in about:
            return about[name]["higher_is_better"]
        known = facts(name)
        return known.higher_is_better if known else True

    return frozenset(column for column, name in figures.items() if higher_is_better(name) is False)


def headline_figure(entries: Sequence[Entry], group: str) -> str:
    """The first figure of a group that all runs have, the loss last."""
    names = list(entries[0].figures.get(group, {})) if entries else []
    names.sort(key=lambda name: name == "loss")
    shared = (n for n in names if all(_value(e, group, n) is not None for e in entries))
    return next(shared, "")


def _value(entry: Entry, group: str, name: str) -> float | None:
    return entry.figures.get(group, {}).get(name)


def _row(system: str, entries: tuple[Entry, ...], figures: Mapping[str, str]) -> Row:
    evaluated = [entry for entry in entries if entry.figures]
    groups = {"quality": "answer", "plausibility": "attention"}
    measures = {
        column: _measure(evaluated, groups.get(column, "cost"), name, name)
        for column, name in figures.items()
    }
    swapped = [_measure(evaluated, "trust", name, f"trust/{name}") for name in SWAPS]
    measures["trust"] = min(filter(None, swapped), key=lambda m: m.mean, default=None)
    kept = {column: m for column in COLUMNS if (m := measures.get(column)) is not None}
    return Row(system, entries, kept)


def _measure(entries: Sequence[Entry], group: str, name: str, drawn: str) -> Measure | None:
    """The mean over runs, with an interval over seeds and test examples where both are known.

    Folds have test examples of their own: their interval is over the runs alone.
    """
    values = [v for entry in entries if (v := _value(entry, group, name)) is not None]
    if not values or len(values) < len(entries):
        return None
    mean = float(np.mean(values))
    tables = [entry.resamples.get(drawn) for entry in entries]
    same = all(entry.examples == entries[0].examples for entry in entries)
    if same and all(tables) and len({len(table or ()) for table in tables}) == 1:
        spread = interval(mean, over_seeds(np.array(tables, float)), confidence=0.95)
    elif len(set(values)) > 1:
        spread = bootstrap(values)
    else:
        return Measure(mean)
    return Measure(mean, spread.low, spread.high) if math.isfinite(spread.low) else Measure(mean)


def over_seeds(resamples: Values, seed: int = 0) -> Values:
    """Means over resampled seeds for each resample of examples: seeds x draws -> draws.

    All seeds have the same resamples of examples, so this resamples both.
    """
    seeds, draws = resamples.shape
    chosen = np.random.default_rng(seed).integers(seeds, size=(seeds, draws))
    return np.take_along_axis(resamples, chosen, axis=0).mean(0)


def _order(row: Row, lower: Lower) -> tuple[bool, float, float]:
    """Better answers first; among equals, better maps."""
    scores = [_score(row, column, lower) for column in ("quality", "plausibility")]
    return not row.evaluated, -scores[0], -scores[1]


def _score(row: Row, column: str, lower: Lower) -> float:
    """The higher the better; the worst of all where nothing is known."""
    measure = row.measures.get(column)
    if measure is None:
        return -math.inf
    return -measure.mean if column in lower else measure.mean


def _with_fronts(rows: Sequence[Row], lower: Lower) -> list[Row]:
    """Each row with the columns on whose Pareto front it is, together with quality."""
    fronts: dict[str, list[str]] = {row.system: [] for row in rows}
    for column in ("seconds", "plausibility", "trust"):
        placed = [row for row in rows if {"quality", column} <= row.measures.keys()]
        points = [[_score(row, c, lower) for c in ("quality", column)] for row in placed]
        for row, best in zip(placed, pareto(points), strict=True):
            if best:
                fronts[row.system].append(column)
    return [Row(row.system, row.entries, row.measures, tuple(fronts[row.system])) for row in rows]


def pareto(points: Sequence[Sequence[float]]) -> list[bool]:
    """Whether no other point is at least as good in every respect and better in one."""

    def dominates(other: Sequence[float], point: Sequence[float]) -> bool:
        pairs = list(zip(other, point, strict=True))
        return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)

    return [not any(dominates(other, point) for other in points) for point in points]


def _controls(evaluated: Sequence[Entry], figures: Mapping[str, str]) -> dict[str, float]:
    """The scores of control maps, which depend on the data alone and not on the run."""
    name, scores = figures.get("plausibility", ""), {}
    for control in CONTROLS:
        values = {
            entry.figures.get("controls", {}).get(control, {}).get(name) for entry in evaluated
        }
        if len(values) == 1 and None not in values:
            scores[control] = values.pop()
    return scores
