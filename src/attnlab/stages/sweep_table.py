"""The jobs of a sweep as a table: live while they run, and with their figures at the end."""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.table import Table
from rich.text import Text

STYLES = {"running": "bold", "failed": "red", "died": "red", "stopped": "yellow", "waiting": "dim"}
REFRESHES_A_SECOND = 1


@dataclass(frozen=True)
class Outcome:
    """The state of a job, and its figures when it has ended."""

    job: str
    folder: str
    state: str = "waiting"  # waiting | running | finished | skipped | failed | stopped | pruned
    seconds: float = 0.0
    message: str = ""
    figures: dict[str, Any] = field(default_factory=dict)


class LiveTable:
    """The jobs that run now, each with its latest validation; redrawn until the sweep ends."""

    def __init__(self, outcomes: Mapping[str, Outcome]) -> None:
        self.outcomes = outcomes  # by folder; the sweep changes them
        self.started: dict[str, float] = {}

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        outcomes = list(self.outcomes.values())
        states = [outcome.state for outcome in outcomes]
        counts = {state: states.count(state) for state in dict.fromkeys(states)}
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for name in ("job", "seconds", "latest validation"):
            table.add_column(name, justify="right" if name == "seconds" else "left", no_wrap=True)
        running = [each for each in outcomes if each.state == "running"]
        shown = [latest(Path(each.folder)) for each in running]
        # Where there is little room, names of jobs are cut, and nothing else.
        room = max(10, options.max_width - max(map(len, ["latest validation", *shown])) - 17)
        for outcome, validation in zip(running, shown, strict=True):
            job = outcome.job if len(outcome.job) <= room else f"{outcome.job[: room - 1]}…"
            table.add_row(job, self._seconds(outcome), validation)
        line = ", ".join(f"{count} {state}" for state, count in counts.items())
        if table.row_count:
            yield table
        yield Text(line, style="dim" if table.row_count else "")

    def _seconds(self, outcome: Outcome) -> str:
        now = time.monotonic()
        return f"{now - self.started.setdefault(outcome.folder, now):.0f}"

    @contextmanager
    def shown(self, console: Console | None = None) -> Iterator[None]:
        """The table stands below what is printed inside; not where the output is no terminal."""
        console = console or Console(markup=False, emoji=False)
        if not console.is_terminal:
            yield
            return
        options = {"refresh_per_second": REFRESHES_A_SECOND, "transient": True}
        with Live(self, console=console, **options):
            yield


def latest(folder: Path) -> str:
    """The last validation of a run: its epoch or step, loss, and first figures."""
    path = folder / "history" / "val.csv"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    # Whole lines alone: the run may be writing the next one.
    rows = list(csv.DictReader(text[: text.rfind("\n") + 1].splitlines()))
    if not rows:
        return ""
    row = {name: value for name, value in rows[-1].items() if name and value}
    place = f"epoch {row['epoch']}" if "epoch" in row else f"step {row.get('step', '?')}"
    figures = [name for name in row if name not in ("epoch", "step")]
    answer = [name for name in figures if "/" not in name and name != "loss"][:1]
    attention = [name for name in figures if name.startswith("attention/")][:1]
    chosen = [name for name in ("loss", *answer, *attention) if name in row]
    try:
        words = [
            f"{name.rpartition('/')[2].replace('_', ' ')} {float(row[name]):.4g}" for name in chosen
        ]
    except ValueError:
        return "val.csv is damaged"
    return "  ".join([place, *words])


def announce(outcome: Outcome, prefix: str = "") -> None:
    """Print one line for a job that has ended, and the end of its log if it failed."""
    seconds = f" ({outcome.seconds:.0f} s)" if outcome.seconds else ""
    figures = "".join(
        f"  {name.replace('_', ' ')} {value:.4f}" for name, value in headlines(outcome.figures)
    )
    print(f"{prefix}{outcome.job}: {outcome.state}{seconds}{figures}", flush=True)
    if outcome.message:
        print("    " + outcome.message.replace("\n", "\n    "), flush=True)


def headlines(figures: Mapping[str, float]) -> list[tuple[str, float]]:
    """The first two figures, other than the loss."""
    return [(name, value) for name, value in figures.items() if name != "loss"][:2]


def _settings(overrides: Sequence[str]) -> dict[str, str]:
    """key=value by key."""
    pairs = (override.partition("=") for override in overrides)
    return {key: value for key, _, value in pairs}


def show(outcomes: Sequence[Outcome], overrides: Sequence[Sequence[str]]) -> None:
    """Print a row for each job with the settings and figures in which jobs differ.

    No cell is cut: a table that is wider than the terminal runs over its edge.
    """
    settings = differing([_settings(job) for job in overrides])
    figures = differing([outcome.figures for outcome in outcomes if outcome.figures])
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in settings or ["job"]:
        table.add_column(name, no_wrap=True)
    table.add_column("state", no_wrap=True)
    for name in ("seconds", *figures):
        table.add_column(name, justify="right", no_wrap=True)
    for outcome, job in zip(outcomes, overrides, strict=True):
        values = _settings(job)
        cells = [values.get(name, "") for name in settings] if settings else [outcome.job]
        seconds = f"{outcome.seconds:.0f}" if outcome.seconds else ""
        numbers = [_number(outcome.figures.get(name)) for name in figures]
        style = STYLES.get(outcome.state, "")
        table.add_row(*cells, Text(outcome.state, style=style), seconds, *numbers)
    print_whole(table)


def print_whole(table: Table) -> None:
    """Print a table at its full width, whatever that of the terminal is."""
    console = Console(markup=False, emoji=False)
    unlimited = console.options.update(max_width=10_000)
    console.width = max(console.width, console.measure(table, options=unlimited).maximum)
    console.print(table, soft_wrap=True)


def differing(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The keys whose values differ between rows; all keys of a single row."""
    keys = dict.fromkeys(key for row in rows for key in row)
    if len(rows) < 2:
        return list(keys)
    return [key for key in keys if any(row.get(key) != rows[0].get(key) for row in rows)]


def _number(value: Any) -> str:
    return "" if value is None else f"{value:.4f}"
