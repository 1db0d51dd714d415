"""A training that is killed at any of its writes goes on, and ends as the one that was not killed.

Every process is killed by SIGKILL as the write begins, or after half of it. What is compared bit
for bit: last and best weights, states of the optimizer and of averages, history and maps.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from attnlab.cli import main
from attnlab.config.compose import load
from attnlab.stages import train
from attnlab.stages.run_status import read_status
from tests.commands import SMALL
from tests.faults.trials import attempt, count, sample
from tests.faults.writes import killed_at, on_writes
from tests.training.test_resume_exactly import assert_equal_runs

TABLE = "kills"
# 4 steps, the second of which ends an epoch; each is saved, so that any resumes from the last.
SHORT = [
    *SMALL,
    "stages=[prepare,train]",
    "dataset.train=16",
    "dataset.val=8",
    "dataset.test=8",
    "model.dim=8",
    "model.dropout=0.3",
    "trainer.batches.size=8",
    "trainer.threads=1",
    "trainer.max_epochs=2",
    "trainer.log_every=1",
    "logger.maps_examples=1",
    "trainer.checkpoints.every_steps=1",
]
TWO = ["trainer=ddp_sim", "trainer.devices=2", "trainer.batches.size=4", "trainer.progress=false"]
CASES = {
    "one process": [],
    "average of the weights": ["trainer.callbacks.ema={decay: 0.9}"],
    "accumulated batches": ["trainer.accumulate=2", "trainer.batches.size=4"],
    "validation within an epoch": ["trainer.validate_every=0.5"],
    "early stopping": [
        "trainer.callbacks.early_stopping={patience: 1, min_delta: 9.0}",
        "trainer.max_epochs=4",
    ],
    "two processes": TWO,
}
DIES_WITH_PARENT = 1  # of prctl
SECONDS = 120


def training(folder: Path, *words: str) -> Callable[[], None]:
    """A training in `folder`; the config is composed once, in this process."""
    places = [f"paths.run={folder / 'run'}", f"paths.prepared={folder / 'prepared'}"]
    config, plain = load([*SHORT, *words, *places, "resume=auto"])

    def go() -> None:
        if config.trainer.devices == 2:
            as_one_of_two()
        train.main(config, plain, [])

    return go


def as_one_of_two() -> None:
    """Go on as two processes, as a scheduler starts them; the second ends with the first."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    os.environ |= {"LOCAL_RANK": "0", "NODE_RANK": "0"}
    if not os.fork():
        os.environ["LOCAL_RANK"] = "1"
        ctypes.CDLL(None).prctl(DIES_WITH_PARENT, signal.SIGKILL)


def writes_of(work: Callable[[], Any], folder: Path) -> list[bool]:
    """Of each write of the first process below a folder, whether half of it can be written.

    Raises an error for one of another process.
    """
    seen = folder / "seen.txt"

    def act(path: Path, flags: int) -> None:
        with seen.open("a") as file:
            rank = os.environ.get("LOCAL_RANK", "0")
            file.write(f"{rank} {flags & (os.O_TRUNC | os.O_APPEND)} {path.relative_to(folder)}\n")

    def watched() -> None:
        on_writes(folder, act)
        work()

    done = attempt(watched, folder, SECONDS)
    assert done.code == 0, done.printed
    lines = [line.split(" ") for line in seen.read_text().splitlines()]
    seen.unlink()
    assert not [line for line in lines if line[0] != "0"], "a second process wrote"
    return [line[1] != "0" for line in lines]


def points(writes: list[bool]) -> list[tuple[int, bool]]:
    """Each write, and each again with half of it done."""
    return [(n, half) for n, torn in enumerate(writes) for half in (False, True)[: 1 + torn]]


def killed(work: Callable[[], Any], folder: Path, number: int, torn: bool) -> None:
    """Do the work until it is killed at a write."""

    def until() -> None:
        on_writes(folder, killed_at(number, torn))
        work()

    done = attempt(until, folder, SECONDS)
    assert done.code == -signal.SIGKILL, done.printed


def swept(case: str, tmp_path: Path, least: int) -> None:
    words = CASES[case]
    whole = tmp_path / "whole"
    whole.mkdir()
    if case == "two processes":  # the data are made beforehand, by one
        load_prepared = training(tmp_path / "whole", "stages=[prepare]")
        assert attempt(load_prepared, whole, SECONDS).code == 0
    prepared = shutil.copytree(whole, tmp_path / "before")
    writes = writes_of(training(whole, *words), whole)
    failures = []
    for number, torn in sample(points(writes), least):
        folder = shutil.copytree(prepared, tmp_path / f"killed-{number}-{torn}")
        work = training(folder, *words)
        killed(work, folder, number, torn)
        done = attempt(work, folder, SECONDS)
        differing = ""
        try:
            assert done.code == 0, done.printed
            assert done.printed.count("taken over from process") <= 1, "one process had the lock"
            assert read_status(folder / "run")["state"] == "finished"
            assert_equal_runs(folder / "run", whole / "run")
        except (AssertionError, OSError) as error:
            differing = f"killed at write {number} of {len(writes)}, half {torn}: {error}"
        count(TABLE, case, "differs" if differing else "the same, bit for bit")
        failures += [differing] if differing else []
        shutil.rmtree(folder)
    assert not failures, "\n".join(failures)


def evaluation(folder: Path) -> Callable[[], int]:
    """Evaluate the run in `folder`, and write its report."""

    def go() -> int:
        run = str(folder / "run")
        return main(["evaluate", run]) or main(["report", run])

    return go


def results(folder: Path) -> dict[str, Any]:
    """What an evaluation leaves, but for the time that it took."""
    figures = json.loads((folder / "run" / "metrics.json").read_text())
    del figures["cost"], figures["checksum"]
    names = ("examples.json", "heads.json", "per_example.csv", "resamples.csv")
    return {name: (folder / "run" / name).read_bytes() for name in names} | figures


def test_a_few_kills(tmp_path: Path) -> None:
    swept("one process", tmp_path, 1)


@pytest.mark.slow
@pytest.mark.timeout(10_800)
@pytest.mark.parametrize("case", CASES)
def test_kill_at_every_write(case: str, tmp_path: Path) -> None:
    swept(case, tmp_path, 2)


@pytest.mark.slow
@pytest.mark.timeout(10_800)
def test_kill_at_every_write_of_evaluation_and_report(tmp_path: Path) -> None:
    trained = tmp_path / "trained"
    trained.mkdir()
    assert attempt(training(trained), trained, SECONDS).code == 0
    whole = shutil.copytree(trained, tmp_path / "whole")
    writes = writes_of(evaluation(whole), whole)
    for number, torn in sample(points(writes), 2):
        folder = shutil.copytree(trained, tmp_path / f"killed-{number}-{torn}")
        killed(evaluation(folder), folder, number, torn)
        assert attempt(evaluation(folder), folder, SECONDS).code == 0
        same = results(folder) == results(whole)
        count(TABLE, "evaluation and report", "the same, bit for bit" if same else "differs")
        assert same, (number, torn)
        assert (folder / "run" / "report.html").is_file()
