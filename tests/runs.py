"""Runs in this process, from their overrides to what they leave in their folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from attnlab.config.compose import load
from attnlab.stages import train
from tests.commands import short_answers, small

# Nothing but files, and one map of each kind.
PLAIN = ("trainer.progress=false", "trainer.threads=1", "logger=files", "logger.maps_examples=1")
SHORT = ("trainer.max_epochs=1", "trainer.batches.size=64", "trainer.batches.eval_size=4")


def ran(folder: Path, *overrides: str) -> Path:
    """Train, evaluate and report; the folder of the run, which lies below `folder`."""
    paths = [f"paths.{name}={folder / name}" for name in ("runs", "prepared")]
    everything = [*short_answers(overrides), *overrides, *PLAIN, *paths]
    config, plain = load(everything)
    train.main(config, plain, everything)
    (run,) = folder.glob("runs/*/*")
    return run


def train_small(folder: Path, *overrides: str) -> None:
    """What `small_run` starts a process for."""
    words = small(folder, *overrides)
    config, plain = load(words)
    train.main(config, plain, words)


def figures(run: Path) -> dict[str, Any]:
    """What metrics.json says."""
    return json.loads((run / "metrics.json").read_text())


def shown(run: Path) -> dict[str, Any]:
    """The first example that the report shows."""
    return json.loads((run / "examples.json").read_text())[0]
