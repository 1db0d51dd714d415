"""Sweeps: one process a job, failures shown, finished jobs skipped, cut-off jobs resumed."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from attnlab.errors import ConfigError
from attnlab.stages.executors import Processes
from attnlab.stages.sweep import Sweep, quoted
from tests.commands import run, small_run, stop_once_saved

# Nothing to evaluate and nothing to draw: these tests are about how jobs are run.
TRAIN_ONLY = ["stages=[prepare,train]", "trainer.clip_norm=null"]


def sweep(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*small_run(folder, *TRAIN_ONLY, *arguments), "-m"]
    return run(command, folder)


def status(folder: Path) -> list[dict[str, Any]]:
    """How the jobs of the one sweep in the folder stand."""
    [file] = (folder / "runs" / "sweeps").glob("status-*.json")
    return json.loads(file.read_text())


def test_failures_are_shown_and_only_they_run_again(tmp_path: Path) -> None:
    """The second of the two learning rates ends in a loss that is no number."""
    arguments = ["hydra.launcher.jobs=2", "trainer.optimizer.lr=3e-3,1e30"]
    first = sweep(tmp_path, *arguments)
    assert first.returncode == 1, first.stdout + first.stderr
    good, bad = status(tmp_path)
    assert (good["state"], bad["state"]) == ("finished", "failed")
    assert good["job"] == "trainer.optimizer.lr=0.003"
    assert "the loss is nan" in bad["message"]
    assert "the loss is nan" in first.stdout, "shown when it happens, with the end of its log"
    assert "1 of 2 jobs failed" in first.stderr
    pids = {
        json.loads((Path(job["folder"]) / "status.json").read_text())["pid"] for job in (good, bad)
    }
    assert len(pids) == 2, "a process each"

    checkpoint = Path(good["folder"]) / "checkpoints" / "best.ckpt"
    before = checkpoint.stat().st_mtime_ns
    second = sweep(tmp_path, *arguments)
    assert second.returncode == 1
    assert {job["state"] for job in status(tmp_path)} == {"skipped", "failed"}
    assert checkpoint.stat().st_mtime_ns == before


@pytest.mark.slow
def test_a_sweep_that_is_stopped_goes_on(tmp_path: Path) -> None:
    """SIGTERM lets the running job save; the same command takes it up, then starts the other."""
    length = [
        "trainer.max_epochs=-1",
        "trainer.max_steps=6000",
        "trainer.checkpoints.every_steps=20",
    ]
    command = [*small_run(tmp_path, *TRAIN_ONLY, *length, "seed=0,1"), "-m"]
    printed = stop_once_saved(command, tmp_path / "runs" / "sweeps", tmp_path)
    assert "the same command goes on" in printed
    assert [job["state"] for job in status(tmp_path)] == ["stopped", "waiting"]

    again = sweep(tmp_path, *length, "seed=0,1", "hydra.launcher.jobs=2")
    assert again.returncode == 0, again.stdout + again.stderr
    assert [job["state"] for job in status(tmp_path)] == ["finished", "finished"]
    first, second = (Path(job["folder"]) for job in status(tmp_path))
    assert "resuming" in (first / "log.txt").read_text()
    assert "resuming" not in (second / "log.txt").read_text()


@pytest.mark.slow
def test_a_sweep_through_submitit(tmp_path: Path) -> None:
    pytest.importorskip("submitit", reason="the extra 'sweep' is not installed")
    done = sweep(tmp_path, "hydra/launcher=slurm_local", "hydra.launcher.jobs=2", "seed=0,1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [job["state"] for job in status(tmp_path)] == ["finished", "finished"]


@pytest.mark.slow
def test_a_sweep_through_ray(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    done = sweep(tmp_path, "hydra/launcher=ray", "seed=0,1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [job["state"] for job in status(tmp_path)] == ["finished", "finished"]


def test_mistakes_of_all_jobs_are_told_before_one_starts(tmp_path: Path) -> None:
    done = sweep(tmp_path, "attention=additive,dott", "seed=0,-1")
    assert done.returncode == 2
    assert "did you mean 'dot'?" in done.stderr
    assert "seed: -1 is not allowed" in done.stderr
    assert not list(tmp_path.glob("runs/sweeps/*/")), "nothing was started"


@pytest.mark.parametrize("wrong", ["0", "-1", "two"])
def test_the_number_of_jobs_is_checked(tmp_path: Path, wrong: str) -> None:
    done = sweep(tmp_path, "seed=0,1", f"hydra.launcher.jobs={wrong}")
    assert done.returncode == 2
    assert "hydra.launcher.jobs" in done.stderr
    assert "is not a whole number above 0" in done.stderr


def plan(folder: Path, *jobs: list[str]) -> list[Path]:
    return [job.folder for job in Sweep(folder, Processes()).plan(jobs)]


def test_a_longer_sweep_finds_the_jobs_of_a_shorter_one(tmp_path: Path) -> None:
    short = plan(tmp_path, ["seed=0"], ["seed=1"])
    longer = plan(tmp_path, ["seed=0"], ["seed=1"], ["seed=2"])
    assert longer[:2] == short
    assert len(set(longer)) == 3


def test_jobs_that_differ_in_anything_have_folders_of_their_own(tmp_path: Path) -> None:
    many = [
        [f"seed={i}", f"model.dropout={0.1 + i / 1000}", "trainer.max_epochs=3"] for i in range(9)
    ]
    assert len(set(plan(tmp_path, *many))) == 9


def test_every_job_is_checked(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        plan(tmp_path, ["seed=0"], ["seed=x"], ["model.dimm=3"])
    assert [mistake.where for mistake in error.value.mistakes] == ["seed", "model.dimm"]


@pytest.mark.parametrize(
    "text", ["plain", "two words", "a,b=c", "it's", r"back\slash", "ends\\", r"\'both", "{x: [1]}"]
)
def test_a_quoted_text_is_that_text_for_hydra(text: str) -> None:
    [override] = OverridesParser.create().parse_overrides([f"key={quoted(text)}"])
    assert str(override.value()) == text


def test_folders_with_odd_names_work(tmp_path: Path) -> None:
    """A comma or a blank in a path is no syntax."""
    [job] = Sweep(tmp_path / "it's a, b=c", Processes()).plan([["seed=0"]])
    word = next(word for word in job.command if word.startswith("paths.run="))
    [override] = OverridesParser.create().parse_overrides([word])
    assert str(override.value()) == str(job.folder)
    assert os.fspath(job.log).startswith(str(job.folder))
