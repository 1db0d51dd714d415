"""The figures of a run as tables, which `dvc plots` draws as dvc.yaml defines."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attnlab.report.example_scores import write_table
from attnlab.report.summary import Finding, Row, plausibility, trust

FOLDER = "plots"
OWN, RANDOM = "attention", "random"
ORDERS = (OWN, "gradient_input", "leave_one_out", RANDOM)  # that every explained run has


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
    found: Sequence[Finding], curves: Mapping[str, Any], shares: Sequence[float], folder: Path
) -> None:
    """Write the shares of changed answers, and the falls where units are erased."""
    _save_rows("tests", (row for row in found if row.figure.endswith("answers changed")), folder)
    erased: dict[str, list[float]] = {"erased": list(shares)}
    falls = curves.get("comprehensiveness", {})
    erased |= {name: falls.get(name) or [math.nan] * len(shares) for name in ORDERS}
    write_table(erased, _place(folder) / "erasure.csv")


def save_metrics(found: Iterable[Finding], path: Path) -> None:
    """Every finding by test and figure, for `dvc metrics` and `dvc exp show`."""
    metrics: dict[str, dict[str, float | None]] = {}
    for row in found:
        test, _, figure = row.figure.partition(": ")
        metrics.setdefault(_name(test), {})[_name(figure)] = row.value
    path.write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")


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
