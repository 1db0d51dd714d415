"""Trainings that a table is made of: each by the command a user would type, picked up if done."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.progress import track

from attnlab.metrics.figures import Interval, bootstrap, bootstrap_seeds
from attnlab.report.tables import PER_EXAMPLE, read_table
from attnlab.training.checkpoint import read_checkpoint
from benchmarks.results import Origin

RUNS = Path("runs/benchmarks")
QUIET = ("trainer.progress=false", "logger=files", "resume=auto")


@dataclass(frozen=True)
class Training:
    """One `python train.py` in a folder of its own."""

    folder: Path
    overrides: tuple[str, ...]

    def run(self, threads: int = 1) -> None:
        """Train and evaluate, unless that was done before; one that was cut off goes on."""
        if self.done:
            return
        words = [*self.overrides, *QUIET, f"trainer.threads={threads}", f"paths.run={self.folder}"]
        command = [sys.executable, "train.py", *words]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode:
            raise SystemExit(f"{' '.join(command)}\n{ended.stderr}")

    @property
    def done(self) -> bool:
        status = self.folder / "status.json"
        return status.is_file() and json.loads(status.read_text())["state"] == "finished"

    def figures(self) -> dict[str, Any]:
        """What metrics.json says."""
        return json.loads((self.folder / "metrics.json").read_text())

    def provenance(self) -> dict[str, Any]:
        """What its checkpoint says of where it comes from."""
        return read_checkpoint(self.folder / "checkpoints" / "best.ckpt")["attnlab"]

    def each(self, figure: str) -> list[float]:
        """The figure of every test example for which it is defined."""
        column = read_table(self.folder / PER_EXAMPLE, "evaluating again")[figure]
        return [float(value) for value in column if value not in ("", "nan")]


def figures(runs: Sequence[Training]) -> list[dict[str, Any]]:
    """What metrics.json says of each."""
    return [run.figures() for run in runs]


def origin(runs: Sequence[Training]) -> Origin:
    """The code and the data that trainings were made with."""
    known = [run.provenance() for run in runs]
    return Origin([each["git_commit"] for each in known], [each["data_digest"] for each in known])


def over(runs: Sequence[Training], figure: str) -> Interval:
    """The mean over seeds and test examples, with the interval over both."""
    each = [run.each(figure) for run in runs]
    return bootstrap(each[0]) if len(each) == 1 else bootstrap_seeds(each)


def of_controls(runs: Sequence[Training], figure: str) -> Iterator[tuple[str, float]]:
    """What answers reach that know nothing of the input, or little: by the control's name."""
    for name, found in (runs[0].figures()["answer_controls"] if runs else {}).items():
        yield f"({name.replace('_', ' ')})", found[figure]


def verdict(target: float, found: float, less_is_better: bool = False) -> str:
    """A target, and whether it was reached."""
    missed = found - target if less_is_better else target - found
    return f"{target:g}: " + ("reached" if missed <= 0 else f"missed by {missed:.3g}")


def train_all(trainings: Sequence[Training], at_once: int = 2, threads: int = 1) -> None:
    """All of them, some at once."""
    run = partial(Training.run, threads=threads)
    with ThreadPoolExecutor(at_once) as pool:
        list(track(pool.map(run, trainings), "training", total=len(trainings)))
