"""Running the project's commands as a user would, in processes of their own."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

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


TRAIN = (str(REPOSITORY / "train.py"),)
ATTNLAB_TRAIN = ("-m", "attnlab", "train")


def small(folder: Path, *overrides: str) -> list[str]:
    """The overrides of a small training that writes below `folder` alone."""
    paths = [f"paths.runs={folder / 'runs'}", f"paths.prepared={folder / 'prepared'}"]
    return [*SMALL, *paths, *overrides]


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
    with tempfile.TemporaryDirectory() as name:
        printed = Path(name, "stdout"), Path(name, "stderr")
        process = _forks.Process(target=_main, args=(command[1:], folder, variables, printed))
        process.start()
        process.join()
        assert process.exitcode is not None
        return subprocess.CompletedProcess(
            command, process.exitcode, *(path.read_text() for path in printed)
        )


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
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    started = subprocess.Popen(command, cwd=folder, env=environment(), **pipes)  # type: ignore[call-overload]
    end = time.monotonic() + 90
    while not list(sweeps.glob("*/checkpoints/last.ckpt")):
        assert started.poll() is None, started.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)
    started.send_signal(signal.SIGTERM)
    printed, _ = started.communicate(timeout=60)
    assert started.returncode == 1, printed
    return printed
