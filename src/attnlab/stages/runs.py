"""`attnlab runs`: the runs below a folder, the latest first.

Each has its state (`died` where it was killed), the first figure of its answers, the space it
takes and its folder. Every stage takes `latest` for the folder of the first one.

    attnlab runs                    the twenty latest
    attnlab runs --all --below runs/sweeps
    attnlab evaluate latest
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from attnlab.errors import UserError
from attnlab.report.summary import read_figures
from attnlab.stages.run_folders import find_runs
from attnlab.stages.run_status import read_status, state_now
from attnlab.stages.sweep_table import STYLES, headlines, print_whole
from attnlab.text_files import DamagedFileError

COMMAND = "list the runs, the latest first"
SHOWN = 20


@dataclass(frozen=True)
class Summary:
    """One run in a line."""

    folder: Path
    started: float
    state: str
    headline: str  # the first figure of its answers
    size: int  # bytes


def main(arguments: list[str]) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="attnlab runs",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--below", type=Path, default=Path("runs"), metavar="FOLDER")
    parser.add_argument("--all", action="store_true", help=f"not only the {SHOWN} latest")
    options = parser.parse_args(arguments)
    folders = find_runs(options.below)
    if not folders:
        raise UserError(f"{options.below}: no runs in it; try: python train.py")
    shown = folders if options.all else folders[:SHOWN]
    show([summary(folder) for folder in shown])
    if len(shown) < len(folders):
        print(f"{len(shown)} of {len(folders)} runs; all of them: attnlab runs --all")


def summary(folder: Path) -> Summary:
    """What a run's files say of it."""
    status = read_status(folder)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    started = status.get("started", 0.0)
    return Summary(folder, started, state_now(folder), _headline(folder), size)


def _headline(folder: Path) -> str:
    if not (folder / "metrics.json").is_file():
        return ""
    try:
        answer = read_figures(folder)["answer"]
    except DamagedFileError:
        return "metrics.json is damaged"
    known = {name: value for name, value in answer.items() if value is not None}
    words = [f"{name.replace('_', ' ')} {value:.4f}" for name, value in headlines(known)[:1]]
    return "".join(words)


def show(summaries: list[Summary]) -> None:
    """A line for each run, its folder whole."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("started", "state", "answers", "MiB", "folder"):
        table.add_column(name, justify="right" if name == "MiB" else "left", no_wrap=True)
    for run in summaries:
        started = time.strftime("%Y-%m-%d %H:%M", time.localtime(run.started))
        state = Text(run.state, style=STYLES.get(run.state, "none"))
        cells = (started if run.started else "", state, run.headline, f"{run.size / 2**20:.1f}")
        table.add_row(*cells, str(run.folder))
    print_whole(table)
