"""Many runs: each job in an OS process of its own, in a folder that the same command finds again.

A crash stays with its job, memory is given back, and the sweep can be started again: jobs that
are finished are skipped, jobs that were cut off go on.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from attnlab.errors import RunError


@dataclass(frozen=True)
class Outcome:
    """How one job ended."""

    job: str
    state: str  # finished | skipped | failed
    seconds: float
    folder: str
    message: str = ""


class Sweep:
    """Jobs in one folder, with a status file that says how each one ended."""

    def __init__(self, folder: Path, jobs: int) -> None:
        self.folder, self.jobs = folder, jobs
        self.status_file = folder / "status.jsonl"
        folder.mkdir(parents=True, exist_ok=True)

    def run_all(self, jobs: Sequence[Sequence[str]]) -> list[Outcome]:
        """Run them; a `RunError` in the end if some failed."""
        outcomes = self.run(jobs)
        failed = [outcome for outcome in outcomes if outcome.state == "failed"]
        if failed:
            raise RunError(
                f"{len(failed)} of {len(jobs)} jobs failed; see {self.status_file}\n"
                "  the same command again skips what is finished"
            )
        return outcomes

    def run(self, jobs: Sequence[Sequence[str]]) -> list[Outcome]:
        """Run them all; one that fails does not stop the others."""
        print(f"{len(jobs)} jobs, {self.jobs} at a time; status: {self.status_file}", flush=True)
        outcomes: list[Outcome] = []
        with ThreadPoolExecutor(self.jobs) as pool:
            for done in as_completed([pool.submit(self._run_one, job) for job in jobs]):
                outcome = done.result()
                outcomes.append(outcome)
                with self.status_file.open("a") as file:
                    file.write(json.dumps(asdict(outcome)) + "\n")
                text = f"[{len(outcomes)}/{len(jobs)}] {outcome.job}: {outcome.state}"
                print(f"{text} ({outcome.seconds:.0f} s) {outcome.message}".rstrip(), flush=True)
        return outcomes

    def _run_one(self, overrides: Sequence[str]) -> Outcome:
        name = re.sub(r"[^\w.=,+-]+", "_", ",".join(overrides)) or "default"
        folder, started = self.folder / name[:120], time.monotonic()
        if _state(folder) == "finished":
            return Outcome(name, "skipped", 0.0, str(folder), "finished before")
        folder.mkdir(exist_ok=True)
        command = [*_entry(), *overrides, f"paths.run={folder}", "resume=auto"]
        with (folder / "log.txt").open("a") as log:
            code = subprocess.run(
                command, env=self._environment(), stdout=log, stderr=log, check=False
            ).returncode
        seconds = time.monotonic() - started
        if code == 0:
            return Outcome(name, "finished", seconds, str(folder))
        last = (folder / "log.txt").read_text(errors="replace").strip().splitlines()[-3:]
        message = f"exit code {code}: " + " | ".join(last)
        return Outcome(name, "failed", seconds, str(folder), message)

    def _environment(self) -> dict[str, str]:
        """The processors are shared out, unless the user has said otherwise."""
        threads = max((os.cpu_count() or 1) // self.jobs, 1)
        return {"OMP_NUM_THREADS": str(threads)} | dict(os.environ)


def _entry() -> list[str]:
    return [sys.executable, "-m", "attnlab", "train"]


def _state(folder: Path) -> Any:
    try:
        return json.loads((folder / "status.json").read_text()).get("state")
    except (OSError, json.JSONDecodeError):
        return None


def digest(jobs: Sequence[Sequence[str]]) -> str:
    """Names a sweep by its jobs, so that the same command finds it again."""
    return hashlib.sha256(json.dumps([list(job) for job in jobs]).encode()).hexdigest()[:8]
