"""Running the project's commands as a user would, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
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


def small_run(folder: Path, *overrides: str) -> list[str]:
    """The command of a small training that writes below `folder` alone."""
    paths = [f"paths.runs={folder / 'runs'}", f"paths.prepared={folder / 'prepared'}"]
    return [sys.executable, str(REPOSITORY / "train.py"), *SMALL, *paths, *overrides]


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
