"""The figures of an evaluation: beside their controls, and beside those of other runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from attnlab.errors import UserError
from attnlab.metrics.figures import interval, two_sided_p
from attnlab.text_files import damage_reported, read_json

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, SOFT, MODEL, KNOWN = "#1b2430", "#55616f", "#1f5fa8", "#8c96a3"
MARKS = {"uniform": "|", "random": "1", "permuted": "2", "position": "s", "oracle": "^"}
FOLDER, FINDINGS = "panels", "trust.json"
EVALUATED = ("plausibility", "trust", "confusion", "calibration")  # pictures that `evaluate` draws
OWN = "model"

Numbers = dict[str, float | None]
Ends = Annotated[list[float | None], Field(min_length=2, max_length=2)]


class FiguresForm(BaseModel):
    """What metrics.json holds at least."""

    model_config = ConfigDict(strict=True)

    answer: Numbers
    attention: Numbers
    trust: Numbers
    controls: dict[str, Numbers]
    answer_controls: dict[str, Numbers]
    intervals: dict[str, Ends | None]
    cost: Numbers
    calibration: Numbers = {}  # of tasks with probabilities; older runs have none
    about: dict[str, dict[str, Any]] = {}
    files: dict[str, str] = {}  # hashes, see `tables.hashes`; older runs have none
    history: dict[str, str] = {}  # the same of the history
    checksum: str = ""


class FindingForm(BaseModel):
    """One entry of `tests` in trust.json."""

    model_config = ConfigDict(strict=True)

    test: str
    figure: str
    value: float | None
    low: float | None
    high: float | None
    verdict: str


class FindingsForm(BaseModel):
    """What trust.json holds at least."""

    tests: list[FindingForm]


def read_figures(folder: Path) -> dict[str, Any]:
    """The figures of a run's evaluation, from its metrics.json."""
    path = folder / "metrics.json"
    if not path.is_file():
        raise UserError(f"{path}: missing; try: attnlab evaluate {folder}")
    remedy = f"attnlab evaluate {folder}"
    figures = read_json(path, remedy, FiguresForm)
    with damage_reported(path, remedy):
        if figures.get("checksum", checksum(figures)) != checksum(figures):
            raise ValueError("its figures differ from their checksum")
    return figures


def checksum(figures: Mapping[str, Any]) -> str:
    """Hash of the figures; metrics.json holds it among them."""
    kept = {name: value for name, value in figures.items() if name != "checksum"}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


GROUPS = ("answer", "attention", "trust")
Columns = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Row:
    """One figure of one map."""

    figure: str
    of: str  # the model's own map, or a control's name
    value: float | None
    low: float | None = None  # 95 % interval
    high: float | None = None

    def cells(self) -> list[str | float | None]:
        return list(astuple(self))


@dataclass(frozen=True)
class Finding(Row):
    """One figure of one test of the map, with the verdict of the test."""

    verdict: str = ""


def plausibility(figures: Mapping[str, Any]) -> list[Row]:
    """Every figure of the model's map against gold, each followed by its controls."""
    return [row for name in figures["attention"] for row in _beside_controls(name, figures)]


def _beside_controls(name: str, figures: Mapping[str, Any]) -> Iterator[Row]:
    low, high = figures["intervals"].get(name) or (None, None)
    yield Row(name, OWN, figures["attention"][name], low, high)
    for control, values in figures["controls"].items():
        if values.get(name) is not None:
            yield Row(name, control, values[name])


def trust(figures: Mapping[str, Any]) -> list[Row]:
    """The share of answers that change when another map replaces the model's own."""
    rows: list[Row] = []
    for name, value in figures["trust"].items():
        low, high = figures["intervals"].get(f"trust/{name}") or (None, None)
        rows.append(Row(f"changed by a {name} map", OWN, value, low, high))
    return rows


def findings(folder: Path) -> list[Finding]:
    """The findings of `attnlab explain`; empty if it was not run."""
    path = folder / FINDINGS
    if not path.is_file():
        return []
    tests = read_json(path, f"attnlab explain {folder}", FindingsForm)["tests"]
    return [
        Finding(f"{t['test']}: {t['figure']}", OWN, t["value"], t["low"], t["high"], t["verdict"])
        for t in tests
    ]


def draw_panels(figures: Mapping[str, Any], folder: Path) -> dict[str, Path]:
    """Pictures of both groups in the run's folder, by name."""
    groups = {
        "plausibility": ("Is the attention right?", plausibility(figures)),
        "trust": ("Does the attention decide?", trust(figures)),
    }
    return {name: _saved(folder, name, *each) for name, each in groups.items() if each[1]}


def draw_findings(folder: Path) -> dict[str, Path]:
    """A picture of the findings of `attnlab explain`."""
    rows = findings(folder)
    if not rows:
        return {}
    return {"findings": _saved(folder, "findings", "What the tests of the map found", rows)}


def _saved(folder: Path, name: str, title: str, rows: Sequence[Row]) -> Path:
    path = folder / FOLDER / f"{name}.png"
    path.parent.mkdir(exist_ok=True)
    draw_rows(title, rows).savefig(path, dpi=130, bbox_inches="tight", pad_inches=0.15)
    return path


def draw_rows(title: str, rows: Sequence[Row]) -> Figure:
    """A line for each figure: the model's value with its interval, its controls as marks.

    Every line has a scale of its own, from 0 to 1 where the figure stays within.
    """
    from matplotlib.figure import Figure

    lines = _lines(rows)
    figure = Figure(figsize=(7.8, 1.1 + 0.32 * len(lines)))
    axes = figure.add_subplot()
    for line, group in enumerate(lines.values()):
        axes.plot([0, 1], [line] * 2, color="#e6e9ec", linewidth=1, zorder=0)
        for row in group:
            _mark(axes, row, line, *_ends(group))
    axes.set_yticks(range(len(lines)), list(lines), fontsize=9)
    axes.set(xlim=(-0.03, 1.42), ylim=(len(lines) - 0.4, -0.6), xticks=[])
    axes.set_title(title, loc="left", fontsize=11, color=INK)
    axes.tick_params(length=0, colors=SOFT)
    for spine in axes.spines.values():
        spine.set_visible(False)
    handles, names = axes.get_legend_handles_labels()
    once = dict(zip(names, handles, strict=True))
    if len(once) > 1:
        figure.legend(
            once.values(), once.keys(), ncols=8, fontsize=8, frameon=False, labelcolor=SOFT,
            loc="lower center",
        )  # fmt: skip
    figure.tight_layout(rect=(0, 0.3 / figure.get_figheight(), 1, 1))
    return figure


def _lines(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows by figure, the model and its controls in one line; counts of what has no value aside."""
    lines: dict[str, list[Row]] = {}
    for row in rows:
        if not row.figure.endswith("_undefined"):
            lines.setdefault(row.figure.replace("_", " "), []).append(row)
    return lines


def _ends(rows: Sequence[Row]) -> tuple[float, float]:
    """The values at the two ends of a line."""
    known = [v for row in rows for v in (row.value, row.low, row.high) if v is not None]
    return min([0.0, *known]), max([1.0, *known])


def _mark(axes: Axes, row: Row, line: int, least: float, most: float) -> None:
    def at(value: float) -> float:
        return (value - least) / (most - least)

    if row.value is None:
        return
    if row.of != OWN:
        mark = MARKS.get(row.of, "x")
        axes.plot(at(row.value), line, mark, color=KNOWN, markersize=7, label=row.of)
        return
    text = f"{row.value:.3f}"
    if row.low is not None and row.high is not None:
        ends = [at(row.low), at(row.high)]
        axes.plot(ends, [line] * 2, color=MODEL, linewidth=5, alpha=0.35)
        text += f"   {row.low:.3f} to {row.high:.3f}"
    axes.plot(at(row.value), line, "o", color=MODEL, markersize=6, label=OWN, zorder=3)
    axes.text(1.06, line, text, fontsize=8.5, color=INK, va="center")


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
