"""Running the project's commands as a user would, in processes of their own."""

from __future__ import annotations

import multiprocessing
import os
import re
import runpy
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from attnlab.stages.executors import PRELOADED, enter

REPOSITORY = Path(__file__).resolve().parents[1]

# A run of seconds: little data, a small model, nothing but files.
SMALL = [
    "dataset.train=320",
    "dataset.val=32",
    "dataset.test=32",
    "model.dim=16",
    "trainer.batches.size=16",
    "trainer.max_epochs=1",
    "trainer.progress=false",
    "logger=files",
    "logger.maps_examples=1",
]

# A date has 10 characters; a model that has learned little would go on for 64, in every evaluation.
SHORT_DATES = "task.max_length=12"
OTHER_DATA = re.compile(r"\+?(experiment|dataset|task)[=/]|task\.max_length=")

TRAIN = (str(REPOSITORY / "train.py"),)
ATTNLAB_TRAIN = ("-m", "attnlab", "train")


def small(folder: Path, *overrides: str) -> list[str]:
    """The overrides of a small training that writes below `folder` alone."""
    paths = [f"paths.runs={folder / 'runs'}", f"paths.prepared={folder / 'prepared'}"]
    return [*SMALL, *short_answers(overrides), *paths, *overrides]


def short_answers(overrides: Sequence[str]) -> list[str]:
    """The override that keeps answers short, where nothing says that they are no dates."""
    return [] if any(map(OTHER_DATA.match, overrides)) else [SHORT_DATES]


def small_run(folder: Path, *overrides: str, entry: tuple[str, ...] = TRAIN) -> list[str]:
    """The command of such a training."""
    return [sys.executable, *entry, *small(folder, *overrides)]


_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(PRELOADED)


def run(
    command: list[str],
    folder: Path = REPOSITORY,
    variables: Mapping[str, str] | None = None,
    threads: int = 1,
) -> subprocess.CompletedProcess[str]:
    """Run to the end and hand back what was printed.

    train.py and `python -m attnlab` run in a fork of a process that has imported torch and
    Lightning already: that saves some five seconds each time.
    """
    variables = environment(threads) | dict(variables or {})
    program = command[1:3] if command[0] == sys.executable else []
    if threads > 1 or (program[:1] != list(TRAIN) and program != ["-m", "attnlab"]):
        return subprocess.run(
            command, capture_output=True, text=True, cwd=folder, env=variables, check=False
        )
    with Forked(command, folder, variables) as started:
        code = started.wait()
        return subprocess.CompletedProcess(command, code, *started.printed())


class Forked:
    """train.py or `python -m attnlab`, running in such a fork."""

    def __init__(
        self,
        command: list[str],
        folder: Path = REPOSITORY,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self._files = tempfile.TemporaryDirectory()
        self._printed = Path(self._files.name, "stdout"), Path(self._files.name, "stderr")
        given = command[1:], folder, dict(variables or environment()), self._printed
        self.process = _forks.Process(target=_main, args=given)
        self.process.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.cleanup()

    def poll(self) -> int | None:
        """The exit code, or minus the number of the signal that ended it; None while it runs."""
        return self.process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """The same, once it has ended."""
        self.process.join(timeout)
        assert self.process.exitcode is not None, self.printed()
        return self.process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def printed(self) -> tuple[str, str]:
        """What it has printed so far to stdout and to stderr."""
        output, errors = (path.read_text() for path in self._printed)
        return output, errors


def _main(
    words: list[str], folder: Path, variables: Mapping[str, str], printed: tuple[Path, Path]
) -> None:
    """Do in a fork what Python does with these words."""
    enter(variables, *printed)
    os.chdir(folder)
    if words[0] == "-m":
        sys.argv = words[1:]
        sys.path.insert(0, str(folder))
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = words
        sys.path.insert(0, str(Path(words[0]).parent))
        runpy.run_path(words[0], run_name="__main__")


def environment(threads: int = 1) -> dict[str, str]:
    """By default one thread, so that tests side by side do not hinder one another."""
    return dict(os.environ) | {"OMP_NUM_THREADS": str(threads), "COLUMNS": "120"}


def stop_once_saved(command: list[str], sweeps: Path, folder: Path = REPOSITORY) -> str:
    """Start a sweep in `folder`, send it SIGTERM once a job wrote a checkpoint; what it printed."""
    with Forked(command, folder) as started:
        end = time.monotonic() + 90
        while not list(sweeps.glob("*/checkpoints/last.ckpt")):
            assert started.poll() is None, started.printed()
            assert time.monotonic() < end
            time.sleep(0.05)
        started.send_signal(signal.SIGTERM)
        code, printed = started.wait(60), "".join(started.printed())
    assert code == 1, printed
    return printed
