"""`attnlab compare`: the runs of a sweep, ordered by their answers.

The overrides and runs are those of `python train.py -m`: finished runs are reused, and those that
were cut off resume. A run that fails is a row with the reason.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from attnlab.config import compose
from attnlab.config.schema import Config
from attnlab.errors import RunError, UserError
from attnlab.stages import composed
from attnlab.stages.executors import Processes
from attnlab.stages.sweep import Job, Sweep
from attnlab.text_files import read_json, write_whole

COMMAND = "run a sweep and write its leaderboard"

EXAMPLES = """examples:
  attnlab compare attention=additive,dot,multihead experiment=reviews
  attnlab compare attention=additive,dot seed=0,1,2            means and intervals over seeds
  attnlab compare --folds 5 dataset=files ...                  each row of your files is tested once
  attnlab compare model=recurrent,transformer hydra.launcher.jobs=2
  attnlab compare attention=additive,dot --output attention    where the leaderboard goes
  attnlab compare --config-dir my_conf dataset=mine attention=additive,dot
"""
FOLD = "dataset.fold"
ERROR = re.compile(r"attnlab: (?P<message>.+)|(?P<raised>[\w.]*(Error|Exception|Interrupt)\b.*)")


def main(arguments: list[str]) -> None:
    """Run what is not finished and write the leaderboard; raises a `RunError` if runs failed."""
    parser = argparse.ArgumentParser(
        prog="attnlab compare",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value,value", help="as for train.py")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="where the files go")
    parser.add_argument("--folds", type=int, metavar="K", help="cross-validation of files: K folds")
    options = parser.parse_intermixed_args(compose.with_search_path(arguments))
    overrides = [
        *options.overrides,
        *(in_folds(options.folds) if options.folds is not None else ()),
    ]
    comparison = Comparison(overrides)
    failure = comparison.run(overrides)
    output = options.output or comparison.folder
    comparison.write(output, ["attnlab", "compare", *arguments])
    if failure is not None:
        raise failure


def in_folds(count: int) -> list[str]:
    """The overrides of a cross-validation: each job tests on another part of the training rows.

    Raises:
        UserError: there are fewer than two folds.
    """
    if count < 2:
        raise UserError(f"--folds: {count} is not allowed; 2 or more")
    folds = ",".join(map(str, range(count)))
    return [f"{FOLD}={folds}", f"dataset.splits.test={1 / count}"]


class Comparison:
    """The jobs of a sweep, and the names of their systems."""

    def __init__(self, overrides: Sequence[str]) -> None:
        """Checks every job; raises what `train.py -m` would raise."""
        search_path = [word for word in overrides if word.startswith("hydra.searchpath")]
        own = [word for word in overrides if not word.startswith(("hydra.", "hydra/"))]
        words = [[*search_path, *job] for job in compose.jobs_of_sweep(own)]
        planned = Sweep(Path(), Processes()).plan(words)
        self.config, _ = compose.load(words[0])
        _require_evaluation(self.config)
        runs = Path(self.config.paths.runs)
        self.sweep = Sweep(runs / "sweeps", Processes())
        self.jobs = [replace(job, folder=self.sweep.folder / job.folder) for job in planned]
        self.varied = _varied(self.jobs)
        named = f"{', '.join(self.varied)} on " if self.varied else ""
        self.title = f"{named}{self.config.dataset.name}"
        self.folder = runs / "leaderboards" / self._name()

    def _name(self) -> str:
        """A folder name that is the same for the same jobs, whatever their order."""
        folders = json.dumps(sorted(job.folder.name for job in self.jobs))
        digest = hashlib.sha256(folders.encode()).hexdigest()[:8]
        return re.sub(r"\W+", "-", self.title)[:60].strip("-") + f"-{digest}"

    def run(self, overrides: Sequence[str]) -> RunError | None:
        """Run the jobs that are left; returns the error of failed jobs, raises that of a stop."""
        try:
            composed.run("attnlab.stages.train", [*overrides, "-m"])
        except RunError as error:
            if not any(outcome["state"] == "failed" for outcome in self.outcomes().values()):
                raise
            return error
        return None

    def outcomes(self) -> dict[str, dict[str, Any]]:
        """The outcome of each job, by its folder."""
        path = self.sweep.status_of(self.jobs)
        content = read_json(path, f"rm {path}", list[dict[str, Any]]) if path.is_file() else []
        return {outcome["folder"]: outcome for outcome in content}

    def write(self, folder: Path, command: Sequence[str]) -> None:
        """Write the leaderboard as a page, a picture and tables; print it and the paths."""
        from attnlab.report import leaderboard_picture, leaderboard_table
        from attnlab.report.leaderboard import leaderboard
        from attnlab.report.leaderboard_page import page

        outcomes = self.outcomes()
        jobs = {str(job.folder): job for job in self.jobs}  # each once
        board = leaderboard([self._entry(job, outcomes.get(f, {})) for f, job in jobs.items()])
        try:
            folder.mkdir(parents=True, exist_ok=True)
            html = folder / "leaderboard.html"
            write_whole(html, page(board, self.title, command, folder))
            pictures = leaderboard_picture.save(board, folder)
            leaderboard_table.write_csv(board, folder / "leaderboard.csv")
            leaderboard_table.write_json(board, command, folder / "leaderboard.json")
        except OSError as error:
            raise UserError(f"--output: cannot write to {folder} ({error.strerror})") from None
        console = Console()
        console.width = max(console.width, 120)
        leaderboard_table.show(console, board, self.title)
        tables = [folder / f"leaderboard.{kind}" for kind in ("csv", "json")]
        for path in (html, *pictures, *tables):
            console.print(f"{path.name:<18}{path}", soft_wrap=True, markup=False, emoji=False)

    def _entry(self, job: Job, outcome: dict[str, Any]) -> Any:
        """The results of a job as an entry of the leaderboard."""
        from attnlab.report.leaderboard import DONE, Entry
        from attnlab.report.summary import read_figures
        from attnlab.report.tables import PER_EXAMPLE, RESAMPLES, read_scores

        metrics = job.folder / "metrics.json"
        done = outcome.get("state") in DONE and metrics.is_file()
        return Entry(
            system=_system(job, self.varied) or self.config.name,
            seed=_repeat(job, "seed", self.config.seed),
            fold=_repeat(job, FOLD),
            folder=str(job.folder),
            state=outcome.get("state", "waiting"),
            error="" if done else first_error(outcome.get("message", ""), job.log),
            log="" if done else str(job.log),
            figures=read_figures(job.folder) if done else {},
            resamples=read_scores(job.folder, RESAMPLES) if done else {},
            examples=read_scores(job.folder, PER_EXAMPLE).get("id", []) if done else [],
        )


def _require_evaluation(config: Config) -> None:
    if config.hparams is not None:
        raise UserError("hparams: a comparison is of single runs; search first, then compare")
    if not {"train", "evaluate"} <= set(config.stages):
        raise UserError("stages: a comparison needs train and evaluate")


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]


def _varied(jobs: Sequence[Job]) -> list[str]:
    """The keys in which jobs differ, apart from those that repeat the same system."""
    shared = set.intersection(*(set(job.overrides) for job in jobs))
    different = [word for job in jobs for word in job.overrides if word not in shared]
    return [key for key in dict.fromkeys(map(_key, different)) if key not in ("seed", FOLD)]


def _system(job: Job, varied: Sequence[str]) -> str:
    """The overrides that set it apart from other systems; the value alone if they have one key."""
    own = [word for word in job.overrides if _key(word) in varied]
    return own[0].partition("=")[2] if len(varied) == 1 and len(own) == 1 else " ".join(own)


def _repeat(job: Job, key: str, default: Any = None) -> Any:
    """The number that a job has for a key that repeats a system."""
    numbers = [word.partition("=")[2] for word in job.overrides if _key(word) == key]
    return int(numbers[-1]) if numbers else default


def first_error(message: str, log: Path) -> str:
    """The line that says why a job failed: its own message, or its exit code."""
    ended = message.partition("\n")[0].partition("; ")[0]
    if ended and not ended.startswith("exit code"):
        return ended
    lines = log.read_text(errors="replace").splitlines() if log.is_file() else []
    for line in reversed(lines):
        match = ERROR.match(line)
        if match:
            return match["message"] or match["raised"]
    return ended
