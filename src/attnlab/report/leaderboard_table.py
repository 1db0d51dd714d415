"""A leaderboard as a table in the terminal, and as CSV and JSON for other programs."""

from __future__ import annotations

import csv
import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from attnlab.report.leaderboard import COLUMNS, Entry, Leaderboard, Measure, Row

FORMS = {"seconds": ".1f", "memory": ".0f", "parameters": ",.0f"}
COST_TITLES = {"seconds": "seconds", "memory": "MiB", "parameters": "parameters"}


def column_titles(board: Leaderboard) -> dict[str, str]:
    """The title of each column that has values."""
    shown = [column for column in COLUMNS if any(column in row.measures for row in board.rows)]
    names = {
        "quality": board.figures.get("quality", "").replace("_", " "),
        "plausibility": board.figures.get("plausibility", "").replace("_", " "),
        "trust": "decides",
        **COST_TITLES,
    }
    return {column: names[column] for column in shown}


def number(value: float, column: str) -> str:
    return format(value, FORMS.get(column, ".3f"))


def between(measure: Measure, column: str) -> str:
    """The interval as text; empty if it is unknown or a single point."""
    if measure.low is None or measure.high is None or measure.low == measure.high:
        return ""
    return f"{number(measure.low, column)} to {number(measure.high, column)}"


def state(row: Row) -> str:
    """How the runs of a system without figures ended; empty if all have figures."""
    states: dict[str, int] = {}
    for entry in row.without_figures:
        states[entry.state] = states.get(entry.state, 0) + 1
    all_alike = len(states) == 1 and not row.evaluated
    return ", ".join(
        name if all_alike else f"{count} of {len(row.entries)} {name}"
        for name, count in states.items()
    )


def show(console: Console, board: Leaderboard, title: str) -> None:
    """The table, and below it why runs are missing."""
    titles = column_titles(board)
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", justify="right")
    table.add_column("")
    for name in titles.values():
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    for index, row in enumerate(board.rows):
        cells = [_cell(row.measures.get(column), column) for column in titles]
        marks = "front" if row.fronts else ""
        note = ", ".join(filter(None, (marks, f"[red]{escape(s)}[/]" if (s := state(row)) else "")))
        table.add_row(board.place(index), escape(row.system), *cells, note)
    for name, value in board.controls.items():
        cells = [number(value, c) if c == "plausibility" else "" for c in titles]
        table.add_row("", f"({name} map)", *cells, "", style="dim")
    unlimited = console.options.update(max_width=10_000)  # no cell is cut
    console.width = max(console.width, console.measure(table, options=unlimited).maximum)
    console.print(table, soft_wrap=True)
    console.print(
        "decides: the share of answers that change when a uniform or permuted map replaces the\n"
        "model's own; front: no other has better answers in as little time, or with such maps;\n"
        "tied: the answers of each lie in the interval of the other.",
        style="dim",
    )
    for entry in (entry for row in board.rows for entry in row.without_figures):
        console.print(
            f"{describe(entry)}\n  {entry.log}", style="red", soft_wrap=True, markup=False
        )


def describe(entry: Entry) -> str:
    """One run without figures, in one line."""
    return f"{entry.system}, {entry.repeat}: {entry.state}" + (
        f"; {entry.error}" if entry.error else ""
    )


def _cell(measure: Measure | None, column: str) -> str:
    if measure is None:
        return ""
    interval = between(measure, column)
    return number(measure.mean, column) + (f" [dim]{interval}[/]" if interval else "")


def write_csv(board: Leaderboard, path: Path) -> None:
    """A line for each system."""
    edges = ("", "_low", "_high")
    header = ["place", "system", "runs", "evaluated", "state", "front"]
    figures = {column: name for column, name in board.figures.items() if column not in COST_TITLES}
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        columns = [f"{column}{edge}" for column in COLUMNS for edge in edges]
        writer.writerow([*header, *(f"{column}_figure" for column in figures), *columns, "error"])
        for index, row in enumerate(board.rows):
            values = [
                "" if value is None else f"{value:.6g}"
                for column in COLUMNS
                for value in _edges(row.measures.get(column))
            ]
            about = [
                board.places[index] if row.evaluated else "",
                row.system,
                len(row.entries),
                len(row.evaluated),
            ]
            error = next((entry.error for entry in row.without_figures), "")
            fronts = " ".join(row.fronts)
            writer.writerow([*about, state(row), fronts, *figures.values(), *values, error])


def _edges(measure: Measure | None) -> tuple[float | None, ...]:
    return (None,) * 3 if measure is None else (measure.mean, measure.low, measure.high)


def write_json(board: Leaderboard, command: Sequence[str], path: Path) -> None:
    """Everything, with the figures of every run."""
    content = {
        "command": shlex.join(command),
        "figures": board.figures,
        "lower_is_better": [c for c in COLUMNS if board.is_lower_better(c)],
        "controls": board.controls,
        "rows": [_plain(row) for row in board.rows],
    }
    path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _plain(row: Row) -> dict[str, Any]:
    kept = ("seed", "fold", "folder", "state", "error", "log", "figures")
    return {
        "system": row.system,
        "measures": {column: asdict(measure) for column, measure in row.measures.items()},
        "fronts": list(row.fronts),
        "runs": [{name: getattr(entry, name) for name in kept} for entry in row.entries],
    }
