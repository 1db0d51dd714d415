"""Running the project's commands as a user would, in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

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


def run(command: list[str], threads: int = 1) -> subprocess.CompletedProcess[str]:
    """Run to the end and hand back what was printed."""
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env=environment(threads),
        check=False,
    )


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
