"""Signals, full disks, folders without rights, closed output: one line, the state, the exit code.

Each command runs in a fork of this process.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from attnlab.stages.evaluated_split import Evaluation
from attnlab.stages.run_status import read_status
from attnlab.training.learner import Learner
from tests.commands import small
from tests.faults.trials import Outcome, attempt, can_mount, command, fill, small_disk
from tests.runs import train_small

TINY = ["dataset.train=32", "dataset.val=8", "dataset.test=8", "model.dim=8"]
NOBODY = 65534


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stops")
    train_small(folder, f"paths.run={folder / 'run'}", *TINY)
    return folder / "run"


@pytest.fixture
def run(original: Path, tmp_path: Path) -> Path:
    return shutil.copytree(original, tmp_path / "run")


def training(folder: Path, *more: str) -> list[str]:
    return ["train", *small(folder, f"paths.run={folder / 'run'}", *TINY, "resume=auto", *more)]


def when(function: Callable[..., object], act: Callable[[], None]) -> Callable[..., object]:
    """The function, which first does something to its own process."""

    def acting(*args: object, **more: object) -> object:
        act()
        return function(*args, **more)

    return acting


def assert_one_line(outcome: Outcome, line: str) -> None:
    assert outcome.code == 1, outcome.printed
    assert "Traceback" not in outcome.printed, outcome.printed
    assert outcome.message.splitlines()[0] == f"attnlab: {line}", outcome.printed


def send(*numbers: signal.Signals) -> None:
    for number in numbers:
        os.kill(os.getpid(), number)
    time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signal_while_evaluating(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        Evaluation,
        "save",
        when(Evaluation.save, lambda: send(number, number)),
    )
    done = command(training(tmp_path), tmp_path, seconds=60)
    assert_one_line(done, f"stopped by {number.name}")
    assert "\n  go on with: python train.py" in done.message
    assert read_status(tmp_path / "run")["state"] == "interrupted"


def test_signal_in_a_command_without_training(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        Evaluation,
        "save",
        when(Evaluation.save, lambda: send(signal.SIGTERM)),
    )
    assert_one_line(command(["evaluate", str(run)], tmp_path, 60), "stopped by SIGTERM")
    assert read_status(run)["state"] == "finished", "it was trained to the end"


def test_hangup_while_training_saves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = when(Learner.training_step, lambda: send(signal.SIGHUP))
    monkeypatch.setattr(Learner, "training_step", step)
    done = command(training(tmp_path, "stages=[train]"), tmp_path, 60)
    saved = tmp_path / "run" / "checkpoints" / "last.ckpt"
    assert_one_line(done, f"stopped by SIGHUP at step 1; saved {saved}")
    assert read_status(tmp_path / "run")["state"] == "interrupted"


def test_hangup_that_nohup_keeps_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = when(Learner.training_step, lambda: send(signal.SIGHUP))
    monkeypatch.setattr(Learner, "training_step", step)

    def under_nohup() -> int:
        from attnlab.cli import main

        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        return main(training(tmp_path, "stages=[train]"))

    assert attempt(under_nohup, tmp_path, 60).code == 0


def test_second_ctrl_c_stops_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = when(Learner.training_step, lambda: send(signal.SIGINT, signal.SIGINT))
    monkeypatch.setattr(Learner, "training_step", step)
    done = command(training(tmp_path, "stages=[train]"), tmp_path, 60)
    assert_one_line(done, "stopped by Ctrl-C at once")
    assert "\n  go on with: python train.py" in done.message
    assert read_status(tmp_path / "run")["state"] == "interrupted"


def test_output_that_nobody_reads(run: Path, tmp_path: Path) -> None:
    def piped() -> int:
        from attnlab.cli import main

        read, write = os.pipe()
        os.close(read)
        os.dup2(write, 1)
        return main(["predict", str(run), "--output", "-"])

    done = attempt(piped, tmp_path, 60)
    assert_one_line(done, "stopped: nobody reads the output any more")


def test_full_disk_behind_the_output(run: Path, tmp_path: Path) -> None:
    def to_a_full_disk() -> int:
        from attnlab.cli import main

        os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
        return main(["predict", str(run), "--output", "-"])

    line = "No space left on device; try: free some space, then the same command again"
    assert_one_line(attempt(to_a_full_disk, tmp_path, 60), line)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """Where a trial mounts a disk."""
    if not can_mount(tmp_path):
        pytest.skip("needs the right to mount a disk")
    return tmp_path / "disk"


@pytest.mark.parametrize("stage", ["evaluate", "report"])
def test_full_disk(stage: str, original: Path, disk: Path, tmp_path: Path) -> None:
    """One line; what was there before is whole."""

    def on_full_disk() -> int:
        from attnlab.cli import main

        small_disk(disk, 8 << 20)
        run = shutil.copytree(original, disk / "run")
        before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
        fill(disk)
        code = main([stage, str(run)])
        after = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
        print("unchanged:", {path: after.get(path) for path in before} == before)
        print("left over:", sorted(after.keys() - before.keys()))
        return code

    done = attempt(on_full_disk, tmp_path, 60)
    assert done.code in (1, 2), done.printed
    assert "No space left on device" in done.printed
    assert "Traceback" not in done.printed
    assert "unchanged: True\nleft over: []" in done.printed


def test_full_disk_in_training_is_told_by_the_state(
    disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def on_full_disk() -> int:
        from attnlab.cli import main

        small_disk(disk, 8 << 20)
        step = when(Learner.training_step, lambda: fill(disk))
        monkeypatch.setattr(Learner, "training_step", step)
        code = main(training(disk, "stages=[train]"))
        print("state:", read_status(disk / "run")["state"])
        return code

    done = attempt(on_full_disk, tmp_path, 60)
    assert done.code == 1, done.printed
    assert "Traceback" not in done.printed
    assert "No space left on device" in done.printed or "the disk is full" in done.printed
    assert "state: failed" in done.printed


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody without rights")
@pytest.mark.parametrize("stage", ["evaluate", "explain"])
def test_folder_without_rights(stage: str, run: Path, tmp_path: Path) -> None:
    for folder in (*tmp_path.parents, tmp_path):
        if folder.is_relative_to("/tmp") and folder != Path("/tmp"):
            folder.chmod(0o755)

    def without_rights() -> int:
        from attnlab.cli import main

        os.setuid(NOBODY)
        return main([stage, str(run)])

    done = attempt(without_rights, tmp_path, 60)
    assert done.code == 2, done.printed
    line = f"attnlab: {run}: cannot write to it (Permission denied); try: a copy of the run in a"
    assert done.message == f"{line} folder of yours"
