"""Figures of a run as tables: in the terminal, of every test example, and for `dvc plots`."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rich.table
from rich import box
from rich.console import Console
from torch import nn

from attnlab.data.integrity import file_hash
from attnlab.metrics.figures import Values, resampled_sums
from attnlab.metrics.pooled import PooledMetric, ratio
from attnlab.metrics.text import Changed
from attnlab.report import classes
from attnlab.report.remarks import better, explanations, figures_of, lost_to_peer
from attnlab.report.summary import Finding, Row, plausibility, trust
from attnlab.text_files import DamagedFileError, damage_reported, read_table, write_whole

PER_EXAMPLE, RESAMPLES = "per_example.csv", "resamples.csv"
RESULTS = ("examples.json", "heads.json", classes.FILE, PER_EXAMPLE, RESAMPLES)
HISTORY = ("history/*.csv", "history/maps/*.json")
DRAWS = 1000
PARAMETERS = {"parameters": "parameters", "trained_parameters": "parameters that are trained"}

Table = Mapping[str, Sequence[object] | Values]

FOLDER = "plots"
OWN, RANDOM = "attention", "random"
ORDERS = (OWN, "gradient_input", "leave_one_out", RANDOM)  # that every explained run has


def save_scores(
    folder: Path,
    ids: Sequence[str],
    losses: Sequence[tuple[float, float]],
    metrics: Iterable[nn.Module],
    changed: Mapping[str, Changed],
) -> None:
    """Write `per_example.csv`, a row for each example, and `resamples.csv`, a row for each draw.

    Two runs with the same examples draw the same ones, so that the differences of their rows are
    the paired bootstrap of any figure, also of those that are no mean (BLEU, F1).

    Args:
        losses: of each example the sum over its positions, and how many those are.
        changed: the answers under other maps compared with the model's own.
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


def save_classes(folder: Path, metrics: Iterable[nn.Module]) -> classes.Classes | None:
    """Write `classes.csv`: of each class precision, recall, F1, and what it was taken for."""
    saved = None
    for metric in metrics:
        columns = metric.by_class() if isinstance(metric, PooledMetric) and metric.examples else {}
        if columns:
            write_table(columns, folder / classes.FILE)
            saved = classes.Classes.of(columns)
    return saved


def _as_they_are(statistics: Values) -> Values:
    return statistics


def _resampled(statistics: Values) -> Values:
    """Resampled sums: the same resamples for every metric and every run with as many examples."""
    return resampled_sums(statistics, DRAWS, seed=0)


def write_table(table: Table, path: Path) -> None:
    """Columns by name, with six digits."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(table)
    for row in zip(*table.values(), strict=True):
        writer.writerow([f"{v:.6g}" if isinstance(v, float) else v for v in row])
    write_whole(path, text.getvalue())


def read_scores(folder: Path, name: str) -> dict[str, list[str]]:
    """The columns of one of the tables of `save_scores`; none where a run has none.

    Raises:
        DamagedFileError: it is cut short, or holds words where numbers belong.
    """
    path, remedy = folder / name, f"attnlab evaluate {folder}"
    table = read_table(path, remedy)
    with damage_reported(path, remedy):
        for column in table.keys() - {"id"}:
            np.array(table[column], float)
    return table


def hashes(folder: Path, patterns: Sequence[str] = RESULTS) -> dict[str, str]:
    """The SHA-256 of files by their names in a folder, for metrics.json.

    By default those of what an evaluation leaves in files of its own.
    """
    paths = sorted(path for each in patterns for path in folder.glob(each) if path.is_file())
    return {path.relative_to(folder).as_posix(): file_hash(path) for path in paths}


def require_results(folder: Path, files: Mapping[str, str]) -> None:
    """Raise a `DamagedFileError` for a file that is not the one that an evaluation left."""
    there = hashes(folder)
    for name, expected in files.items():
        if there.get(name) != expected:
            raise DamagedFileError(
                f"{folder / name}: not what the evaluation wrote; try: attnlab evaluate {folder}"
            )


def changed_history(folder: Path, expected: Mapping[str, str]) -> list[str]:
    """The files of a run's history that are not as they were when it was evaluated."""
    there = hashes(folder, HISTORY)
    names = sorted(there.keys() | expected.keys()) if expected else []  # older runs have no hashes
    return [name for name in names if there.get(name) != expected.get(name)]


def save_figures(figures: Mapping[str, Any], folder: Path) -> None:
    """Write the figures of answers, maps and trust to tables of their own: their scales differ."""
    intervals = figures["intervals"]
    answer = [
        Row(name, "model", value, *(intervals.get(name) or ()))
        for name, value in figures["answer"].items()
        if name != "loss"  # beside shares it would dwarf them, and it is drawn over training
    ]
    _save_rows("answer", answer, folder)
    _save_rows("attention", (r for r in plausibility(figures) if r.of == "model"), folder)
    _save_rows("trust", trust(figures), folder)


def save_findings(
    findings: Sequence[Finding], curves: Mapping[str, Any], shares: Sequence[float], folder: Path
) -> None:
    """Write the shares of changed answers, and the falls where units are erased."""
    _save_rows("tests", (row for row in findings if row.figure.endswith("answers changed")), folder)
    erased: dict[str, list[float]] = {"erased": list(shares)}
    falls = curves.get("comprehensiveness", {})
    erased |= {name: falls.get(name) or [math.nan] * len(shares) for name in ORDERS}
    write_table(erased, _place(folder) / "erasure.csv")


def save_metrics(findings: Iterable[Finding], path: Path) -> None:
    """Every finding by test and figure, for `dvc metrics` and `dvc exp show`."""
    metrics: dict[str, dict[str, float | None]] = {}
    for row in findings:
        test, _, figure = row.figure.partition(": ")
        metrics.setdefault(_name(test), {})[_name(figure)] = row.value
    write_whole(path, json.dumps(metrics, indent=2) + "\n")


def _name(text: str) -> str:
    return text.replace(" ", "_")


def _save_rows(name: str, rows: Iterable[Row], folder: Path) -> None:
    known = [row for row in rows if row.value is not None]
    table = {
        "figure": [row.figure.replace("_", " ") for row in known],
        "value": [row.value for row in known],
        "low": [row.low for row in known],
        "high": [row.high for row in known],
    }
    write_table(table, _place(folder) / f"{name}.csv")


def _place(folder: Path) -> Path:
    place = folder / FOLDER
    place.mkdir(exist_ok=True)
    return place


def _number(value: float | None, form: str = ".4f") -> str:
    return "" if value is None else format(value, form)


def _add_costs(table: rich.table.Table, cost: Mapping[str, Any]) -> None:
    """A row for each of what training took."""
    table.add_row("cost", "seconds of training", _number(cost["train_seconds"], ".1f"))
    table.add_row("cost", "MiB of memory at the peak", _number(cost["peak_memory_mib"], ".0f"))
    for name, title in PARAMETERS.items():
        if (count := cost.get(name)) is not None:
            table.add_row("cost", title, f"{count:,}")


def show_figures(title: str, folder: Path, figures: Mapping[str, Any]) -> None:
    """Print the figures of an evaluation beside their controls, and where its files are."""
    console = Console(markup=False, emoji=False)
    console.width = max(console.width, 100)
    table = rich.table.Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("", "", "test", "95% interval", "uniform", "oracle", "better"):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    for group, name, value in figures_of(figures, "answer", "calibration", "blocks"):
        interval = _range(figures, name)
        table.add_row(group, name, _number(value), interval, "", "", better(name, figures))
    for control, controlled in figures["answer_controls"].items():
        for name, value in controlled.items():
            table.add_row("control", f"{name} of {control}", _number(value))
    undefined = [name for name, value in figures["attention"].items() if value is None]
    for name, value in figures["attention"].items():
        if value is None:
            continue
        known = [_number(figures["controls"][control][name]) for control in ("uniform", "oracle")]
        interval = _range(figures, name)
        note = figures["about"].get(name, {}).get("note")
        title = f"{name} ({note})" if note else name
        table.add_row("attention", title, _number(value), interval, *known, better(name, figures))
    people = figures["controls"].get("annotator", {})
    rows = [("annotator", f"{name} against the others", v) for name, v in people.items()]
    rows += [("trust", f"changed by a {name} map", v) for name, v in figures["trust"].items()]
    for about, title, value in rows:
        table.add_row(about, title, _number(value))
    _add_costs(table, figures["cost"])
    console.print(table)
    for line in explanations(figures):
        console.print(f"  {line}", style="dim", soft_wrap=True)
    if undefined:
        names = ", ".join(undefined)
        console.print(f"undefined for every example: {names} (gold maps: docs/data.md)")
    found = classes.read_classes(folder)
    for line in (*lost_to_peer(figures), *(found.weakest() if found else ())):
        console.print(line, soft_wrap=True)
    for name in ("checkpoints/best.ckpt", "metrics.json", classes.FILE, "maps", "report.html"):
        if (folder / name).exists():
            console.print(f"{name.split('/')[-1]:<14}{folder / name}", soft_wrap=True)


def _range(figures: Mapping[str, Any], name: str) -> str:
    low_high = figures["intervals"].get(name)
    if not low_high or None in low_high:
        return ""
    return f"{low_high[0]:.4f} - {low_high[1]:.4f}"
