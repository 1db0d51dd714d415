"""Ways to train: several processes, shards, half precision, averages, early ends."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pytest
import torch

from attnlab.config import compose
from attnlab.stages import train
from attnlab.stages.run_start import FOLDER_VARIABLE
from tests.commands import ATTNLAB_TRAIN, REPOSITORY, SHORT_DATES, SMALL, TRAIN, run, small_run
from tests.runs import train_small

# Nothing drawn while training, so that runs differ only in how they are spread over processes:
# answers of unequal length, half of them without a gold map, so no two processes count the same.
UNEQUAL = ["experiment=support_reply", "dataset.supervision=0.5"]
EQUAL = [
    *UNEQUAL,
    "stages=[train]",
    "model.dropout=0",
    "trainer.log_every=1",
    "trainer.batches.bucket=1",
]
ALONE = ["trainer.batches.size=32"]
SHARED = ["trainer.batches.size=16", "trainer.devices=2"]


def losses(folder: Path) -> list[float]:
    """Of the answers and of the maps, at each step."""
    with (folder / "history" / "train.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [float(row[name]) for row in rows for name in ("loss_task", "loss_attention")]


def alone(folder: Path, *overrides: str) -> Path:
    """Train in this process."""
    train_small(folder, *EQUAL, *ALONE, *overrides, f"paths.run={folder / 'alone'}")
    return folder / "alone"


def shared(folder: Path, *overrides: str, entry: tuple[str, ...] = TRAIN) -> Path:
    """Train in two processes."""
    words = [*EQUAL, *overrides, *SHARED, f"paths.run={folder / 'shared'}"]
    done = run(small_run(folder, *words, entry=entry))
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / "shared"


def test_two_processes_follow_the_curve_of_one(tmp_path: Path) -> None:
    one = losses(alone(tmp_path))
    # Started so, as jobs of a sweep are, the second process has to be started so, too.
    two = losses(shared(tmp_path, "trainer=ddp_sim", entry=ATTNLAB_TRAIN))
    assert len(one) == 2 * 10
    assert two == pytest.approx(one, rel=2e-3)


@pytest.mark.slow
def test_processes_that_share_texts_follow_the_curve_of_one(tmp_path: Path) -> None:
    texts = ["experiment=induction", "objective.terms.attention=null", "trainer.log_every=1"]
    words = [*texts, "stages=[prepare,train]", "model.dropout=0", "trainer.batches.bucket=1"]
    train_small(tmp_path, *words, f"paths.run={tmp_path / 'alone'}")
    shared = ["trainer=ddp_sim", "trainer.sequence_parallel=true", "trainer.batches.size=16"]
    done = run(small_run(tmp_path, *words, *shared, f"paths.run={tmp_path / 'shared'}"))
    assert done.returncode == 0, done.stderr[-3000:]
    curves = []
    for name in ("alone", "shared"):
        with (tmp_path / name / "history" / "train.csv").open() as file:
            curves.append([float(row["loss_task"]) for row in csv.DictReader(file)])
    assert len(curves[0]) > 5
    assert curves[1] == pytest.approx(curves[0], rel=1e-4)


def test_shards_follow_the_curve_of_one_process_and_leave_a_whole_checkpoint(
    tmp_path: Path,
) -> None:
    transformer = ["model=transformer", "attention=multihead", "trainer.clip_norm=null"]
    whole = alone(tmp_path, *transformer)
    cpu = ["trainer.accelerator=cpu", "trainer.precision=32-true"]
    shards = shared(tmp_path, *transformer, "trainer=fsdp", *cpu)
    assert losses(shards) == pytest.approx(losses(whole), rel=2e-3)
    ours, theirs = (
        torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for folder in (shards, whole)
    )
    assert {name: value.shape for name, value in ours.items()} == {
        name: value.shape for name, value in theirs.items()
    }


def test_torchrun_starts_the_processes_of_several_machines(tmp_path: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    nodes = ["trainer=multinode", "trainer.num_nodes=1", "trainer.devices=2"]
    cpu = ["trainer.accelerator=cpu", "trainer.precision=32-true", "trainer.batches.size=16"]
    places = [f"paths.run={tmp_path / 'run'}", f"paths.prepared={tmp_path / 'prepared'}"]
    command = [*torchrun, str(REPOSITORY / "train.py"), *SMALL, *EQUAL, *nodes, *cpu, *places]
    done = run(command)
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(losses(tmp_path / "run")) == 2 * 10
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "finished"


@pytest.mark.parametrize(
    "overrides",
    [
        ["trainer.precision=bf16-mixed"],
        ["trainer.accumulate=4", "trainer.clip_norm=0.1"],
        ["trainer.callbacks.ema={decay: 0.9}"],
        ["trainer/schedule=inverse_sqrt"],
        ["trainer/schedule=constant"],
        [
            "trainer.validate_every=0.5",
            "trainer.callbacks.early_stopping={patience: 0, min_delta: 10.0}",
            "trainer.max_epochs=2",
        ],
        ["trainer/callbacks=[swa,gradient_norm]", "trainer/optimizer=muon"],
        ["trainer/optimizer=lion", "trainer.progress=true"],
        ["debug=overfit", "trainer.max_epochs=3"],
        ["debug=profile", "trainer.max_steps=5"],
    ],
    ids=lambda overrides: overrides[0],
)
def test_setting_trains(
    overrides: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    place = tmp_path / "run"
    paths = [f"paths.run={place}", f"paths.prepared={tmp_path / 'prepared'}"]
    config, plain = compose.load([*SMALL, SHORT_DATES, "trainer.log_every=1", *paths, *overrides])
    train.main(config, plain, [])
    assert json.loads((place / "metrics.json").read_text())["answer"]["loss"] > 0
    steps = len(losses(place)) // 2  # two losses for each
    expected = {"trainer.accumulate=4": 5, "debug=overfit": 6, "debug=profile": 5}
    if overrides[0] in expected:
        optimizer_steps = torch.load(place / "checkpoints/last.ckpt", weights_only=True)[
            "global_step"
        ]
        assert optimizer_steps == expected[overrides[0]]
    if "trainer.validate_every=0.5" in overrides:
        assert steps < 40, "stopped early"
    if "debug=profile" in overrides:
        assert "Action" in (place / "fit-profile.txt").read_text()


@pytest.mark.slow
def test_compiled_model_trains(tmp_path: Path) -> None:
    compiled = losses(alone(tmp_path / "compiled", "trainer.compile=true"))
    assert compiled == pytest.approx(losses(alone(tmp_path)), rel=1e-3)
