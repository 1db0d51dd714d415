"""Sweeps: many runs, each an OS process with a folder that the same command finds again.

A job that crashes does not stop the others. The same command, or a longer sweep, skips finished
jobs and resumes those that were cut off.
"""

from __future__ import annotations

import hashlib
import json
import re
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from attnlab.config import compose
from attnlab.config.compose import quoted
from attnlab.errors import ConfigError, RunError
from attnlab.stages.executors import STILL_RUNNING, Executor, ShouldStop
from attnlab.stages.run import fingerprint
from attnlab.stages.sweep_table import LiveTable, Outcome, announce, show
from attnlab.text_files import DamagedFileError, read_json, write_whole

LOG_LINES_SHOWN = 8


@dataclass(frozen=True)
class Job:
    """One run of a sweep: its overrides and its folder."""

    name: str  # the overrides that tell it from the other jobs
    overrides: tuple[str, ...]
    folder: Path

    @property
    def command(self) -> list[str]:
        """The module that runs it, from the start or from its last checkpoint."""
        run = f"paths.run={quoted(str(self.folder))}"
        entry = ["attnlab", "train", "trainer.progress=false"]
        return [*entry, *self.overrides, run, "resume=auto"]

    @property
    def log(self) -> Path:
        return self.folder / "log.txt"

    def is_finished(self) -> bool:
        return _json(self.folder / "status.json").get("state") == "finished"


class Sweep:
    """Jobs in one folder, with a file that holds the state of each."""

    def __init__(self, folder: Path, executor: Executor) -> None:
        self.folder, self.executor = folder, executor
        self.lock = threading.Lock()
        self.outcomes: dict[str, Outcome] = {}
        self.status_file = folder / "status.json"
        self.stopping = False

    def plan(self, jobs: Sequence[Sequence[str]]) -> list[Job]:
        """A job for each list of overrides; raises all mistakes before one starts."""
        planned, mistakes = [], {}
        shared = set.intersection(*map(set, jobs)) if len(jobs) > 1 else set()
        for overrides in jobs:
            try:
                _, plain = compose.load(overrides)
            except ConfigError as error:
                mistakes |= {str(mistake): mistake for mistake in error.mistakes}
            else:
                name = " ".join(o for o in overrides if o not in shared) or "default"
                planned.append(Job(name, tuple(overrides), self._folder(overrides, plain)))
        if mistakes:
            raise ConfigError(list(mistakes.values()), compose.NEXT_COMMAND)
        return planned

    def _folder(self, overrides: Sequence[str], plain: dict[str, Any]) -> Path:
        """The same for the same overrides that compose to the same config."""
        text = " ".join(overrides)
        digest = hashlib.sha256(f"{fingerprint(plain)} {text}".encode()).hexdigest()[:8]
        words = re.sub(r"[^\w.=+-]+", "_", text)[:80].strip("_") or "default"
        return self.folder / f"{words}-{digest}"

    def run_all(self, overrides: Sequence[Sequence[str]]) -> list[Outcome]:
        """Run all jobs and print a table; raises a `RunError` at the end if some failed."""
        jobs = self.plan(overrides)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.status_file = self.status_of(jobs)
        print(
            f"{len(jobs)} jobs, {self.executor.parallel} at a time; {self.status_file}", flush=True
        )
        outcomes = self._run(jobs)
        show(outcomes, [job.overrides for job in jobs])
        failed = [outcome for outcome in outcomes if outcome.state == "failed"]
        if failed:
            raise RunError(
                f"{len(failed)} of {len(jobs)} jobs failed; see {self.status_file}\n"
                "  the same command again skips what is finished"
            )
        return outcomes

    def status_of(self, jobs: Sequence[Job]) -> Path:
        """The file that holds the states of these jobs."""
        names = json.dumps([job.folder.name for job in jobs])
        return self.folder / f"status-{hashlib.sha256(names.encode()).hexdigest()[:8]}.json"

    def _run(self, jobs: Sequence[Job]) -> list[Outcome]:
        """Run the jobs, some at a time; a failure does not stop the others."""
        for job in jobs:
            self.record(Outcome(job.name, str(job.folder)))
        with ThreadPoolExecutor(self.executor.parallel) as pool:
            futures = [pool.submit(self.run_one, job) for job in jobs]
            with self.stoppable(pool), LiveTable(self.outcomes).shown():
                for count, done in enumerate(as_completed(futures), 1):
                    announce(done.result(), f"[{count}/{len(jobs)}] ")
        return [self.outcomes[str(job.folder)] for job in jobs]

    @contextmanager
    def stoppable(self, pool: ThreadPoolExecutor) -> Iterator[None]:
        """Inside, Ctrl-C and SIGTERM let the running jobs save, and no other job starts."""
        in_main = threading.current_thread() is threading.main_thread()
        previous = signal.signal(signal.SIGTERM, signal.default_int_handler) if in_main else None
        try:
            yield
        except BaseException as error:
            self.stopping = True
            pool.shutdown(wait=False, cancel_futures=True)
            self.executor.stop()
            if isinstance(error, KeyboardInterrupt):
                raise RunError("stopped; the same command goes on from here") from None
            raise
        finally:
            if in_main:
                signal.signal(signal.SIGTERM, previous)

    def run_one(self, job: Job, should_stop: ShouldStop | None = None) -> Outcome:
        """Run a job and wait for it, unless it is finished."""
        outcome, started = Outcome(job.name, str(job.folder)), time.monotonic()
        if job.is_finished():
            return self.record(replace(outcome, state="skipped", figures=_figures(job.folder)))
        job.folder.mkdir(parents=True, exist_ok=True)
        self.record(replace(outcome, state="running"))
        code = self.executor.run(job.command, job.log, should_stop)
        outcome = replace(outcome, seconds=round(time.monotonic() - started, 1))
        if code == 0:
            return self.record(replace(outcome, state="finished", figures=_figures(job.folder)))
        interrupted = _json(job.folder / "status.json").get("state") == "interrupted"
        state = "stopped" if self.stopping or interrupted else "failed"
        return self.record(replace(outcome, state=state, message=_reason(code, job.log)))

    def record(self, outcome: Outcome) -> Outcome:
        """Write the status file with this outcome, whole or not at all."""
        with self.lock:
            self.outcomes[outcome.folder] = outcome
            self.status_file.parent.mkdir(parents=True, exist_ok=True)
            content = [asdict(each) for each in self.outcomes.values()]
            write_whole(self.status_file, json.dumps(content, indent=2) + "\n")
        return outcome


def _reason(code: int, log: Path) -> str:
    if code == STILL_RUNNING:
        return "another process runs this job"
    ended = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    lines = log.read_text(errors="replace").strip().splitlines() if log.is_file() else []
    return "\n".join([f"{ended}; {log}", *lines[-LOG_LINES_SHOWN:]])


def _figures(folder: Path) -> dict[str, float]:
    """The figures of the test split that compare jobs."""
    metrics = _json(folder / "metrics.json")
    both = {**metrics.get("answer", {}), **metrics.get("attention", {})}
    return {name: value for name, value in both.items() if isinstance(value, int | float)}


def _json(path: Path) -> dict[str, Any]:
    """The mapping that a file of a job holds; empty where it holds none."""
    try:
        return read_json(path, "the same command again", dict[str, Any])
    except DamagedFileError:
        return {}
