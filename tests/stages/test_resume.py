"""A run that was killed ends with the same weights, bit for bit, as one that was not."""

from __future__ import annotations

import csv
import json
import signal
import time
from pathlib import Path

import pytest
import torch

from attnlab.errors import UserError
from tests.commands import Forked, small_run
from tests.runs import train_small

# 40 steps in two epochs, with dropout, written every 3 steps, so that a kill falls mid-epoch.
LONGER = ["trainer.max_epochs=2", "trainer.checkpoints.every_steps=3", "trainer.log_every=1"]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    checkpoint = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 40
    return checkpoint["state_dict"]


def steps_done(folder: Path) -> int:
    try:
        with (folder / "history" / "train.csv").open() as file:
            return len(list(csv.DictReader(file)))
    except OSError:
        return 0


def seconds_of_training(folder: Path) -> float:
    return json.loads((folder / "status.json").read_text()).get("train_seconds", 0.0)


def stop_after(command: list[str], folder: Path, steps: int, number: signal.Signals) -> str:
    """Start the command, send it a signal once it has done some steps; what it printed."""
    with Forked(command) as process:
        deadline = time.monotonic() + 120
        while steps_done(folder) < steps and process.poll() is None:
            assert time.monotonic() < deadline, "the run did not get going"
            time.sleep(0.005)
        process.send_signal(number)
        if number == signal.SIGTERM:  # as schedulers do, to the process and to its group
            process.send_signal(number)
        code, printed = process.wait(60), "".join(process.printed())
    assert code == (-9 if number == signal.SIGKILL else 1), printed
    return printed


def test_a_run_that_ended_at_a_number_of_steps_goes_on_to_a_larger_one(tmp_path: Path) -> None:
    """20 steps are an epoch, which `max_epochs` allows two of, however often training stops."""
    words = [*LONGER, f"paths.run={tmp_path / 'run'}", "resume=auto", "stages=[prepare,train]"]
    for limit, reached in ((8, 8), (13, 13), (27, 27), (-1, 40)):
        train_small(tmp_path, *words, f"trainer.max_steps={limit}")
        last = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
        assert last["global_step"] == reached
    assert steps_done(tmp_path / "run") == 40
    with pytest.raises(UserError, match=r"last\.ckpt has trained more already"):
        train_small(tmp_path, *words, "trainer.max_epochs=1")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    train_small(folder, *LONGER, f"paths.run={folder / 'run'}")
    return folder / "run"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_resumed_run_equals_the_uninterrupted_one(
    number: signal.Signals,
    uninterrupted: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = [*LONGER, f"paths.run={tmp_path / 'run'}", "resume=auto"]
    printed = stop_after(small_run(tmp_path, *words), tmp_path / "run", 8, number)
    left = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    stopped_at = left["global_step"]
    assert 0 < stopped_at < 20, "stopped within the first epoch"
    if number == signal.SIGTERM:
        assert "stopped by SIGTERM at step" in printed
        assert "resume=auto" in printed
    spent = left["callbacks"]["Cost"]["train_seconds"]
    assert spent > 0
    if number == signal.SIGTERM:
        assert seconds_of_training(tmp_path / "run") >= spent
    train_small(tmp_path, *words)
    assert f"at step {stopped_at}" in capsys.readouterr().out
    ours, theirs = weights(tmp_path / "run"), weights(uninterrupted)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name
    assert steps_done(tmp_path / "run") == steps_done(uninterrupted)
    assert seconds_of_training(tmp_path / "run") > spent
