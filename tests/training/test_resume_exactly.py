"""A run resumed from any of its checkpoints equals the uninterrupted one, bit for bit."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from attnlab.config.compose import load
from attnlab.stages import train
from attnlab.stages.run_start import FOLDER_VARIABLE
from attnlab.training.checkpoint import AtomicCheckpointIO
from attnlab.training.learner import Learner
from attnlab.training.safety import InterruptedRunError
from tests.commands import SHORT_DATES, SMALL

# 8 steps in two epochs; validated after steps 2, 4, 6 and 8, and saved there as well.
SHORT = [
    *SMALL,
    SHORT_DATES,
    "stages=[train]",
    "dataset.train=64",
    "dataset.val=8",
    "model.dim=8",
    "trainer.max_epochs=2",
    "trainer.validate_every=0.5",
    "trainer.checkpoints.every_steps=2",
    "trainer.log_every=1",
]


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)


def trained(run: Path, *overrides: str) -> Path:
    words = [*SHORT, *overrides, f"paths.prepared={run.parent / 'prepared'}", f"paths.run={run}"]
    config, plain = load([*words, "resume=auto"])
    train.main(config, plain, words)
    return run


def assert_same(one: Any, other: Any, where: str = "") -> None:
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_same(one[key], other[key], f"{where}/{key}")
    elif isinstance(one, list):
        assert len(one) == len(other), where
        for i, pair in enumerate(zip(one, other, strict=True)):
            assert_same(*pair, f"{where}/{i}")
    else:
        assert one == other, where


def kept_maps(run: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (run / "history" / "maps").iterdir()}


def assert_equal_runs(one: Path, other: Path) -> None:
    for name in ("train.csv", "val.csv"):
        assert (one / "history" / name).read_text() == (other / "history" / name).read_text()
    assert kept_maps(one) == kept_maps(other)
    for name in ("best.ckpt", "last.ckpt"):
        ours, theirs = (
            torch.load(run / "checkpoints" / name, weights_only=True) for run in (one, other)
        )
        parts = ("global_step", "state_dict", "optimizer_states", "lr_schedulers")
        for part in (*parts, "averaging_state", "current_model_state"):
            assert_same(ours.get(part), theirs.get(part), f"{name}/{part}")


EPOCHS = ["trainer.validate_every=1", "trainer.max_epochs=4"]
# A loss that falls never gets larger: no epoch is better than the first.
STOPPED = [*EPOCHS, "trainer.checkpoints.monitor=val/loss", "trainer.checkpoints.mode=max"]
STOPPED += ["trainer.callbacks.early_stopping={patience: 1, min_delta: 0.0}"]


@pytest.mark.parametrize(
    ("words", "saved"),
    [
        (["model.dropout=0", "trainer.callbacks.ema={decay: 0.9}"], 5),
        (["model.dropout=0.3", "trainer.callbacks.ema={decay: 0.9}"], 5),
        (["model.dropout=0.3", *EPOCHS], 9),
        (["model.dropout=0.3", *STOPPED], 5),
    ],
    ids=["without dropout", "with dropout", "whole epochs", "early stopping"],
)
def test_a_checkpoint_of_a_step_that_validates_holds_the_validation(
    words: list[str], saved: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a kill -9 right after each writing of last.ckpt."""
    save = AtomicCheckpointIO.save_checkpoint
    whole, copies = tmp_path / "whole", []

    def save_and_copy(self: Any, checkpoint: dict, path: Any, **more: Any) -> None:
        save(self, checkpoint, path, **more)
        if Path(path).name == "last.ckpt" and Path(path).parents[1] == whole:
            copies.append(tmp_path / f"killed-{len(copies)}")
            shutil.copytree(whole, copies[-1])

    monkeypatch.setattr(AtomicCheckpointIO, "save_checkpoint", save_and_copy)
    trained(whole, *words)
    assert len(copies) == saved, "all but one while training"
    for copy in copies[:-1]:
        assert_equal_runs(trained(copy, *words), whole)


@pytest.mark.parametrize(
    ("words", "at"),
    [
        (["trainer.callbacks.ema={decay: 0.9}", "trainer.validate_every=1"], 3),
        (["trainer.callbacks.ema={decay: 0.9}"], 4),  # a step that validates
        (["trainer.accumulate=3", "trainer.batches.size=4", "trainer.validate_every=1"], 5),
    ],
    ids=["average", "validation", "accumulated"],
)
def test_a_signal_loses_nothing(
    words: list[str], at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*words, "model.dropout=0.3", "trainer.checkpoints.every_steps=100"]
    whole = trained(tmp_path / "whole", *words)
    step = Learner.training_step

    def interrupt(self: Learner, batch: Any, batch_idx: int) -> torch.Tensor:
        if batch_idx + 1 == at and self.current_epoch == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, batch, batch_idx)

    monkeypatch.setattr(Learner, "training_step", interrupt)
    with pytest.raises(InterruptedRunError, match="stopped by SIGTERM"):
        trained(tmp_path / "stopped", *words)
    monkeypatch.setattr(Learner, "training_step", step)
    assert_equal_runs(trained(tmp_path / "stopped", *words), whole)
