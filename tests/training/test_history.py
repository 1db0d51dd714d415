"""What a run keeps over time: each row once, and maps of the same validation examples."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from attnlab.config.compose import load
from attnlab.config.schema import Config
from attnlab.data.prepared import Prepared
from attnlab.report.recorded_maps import load_frames
from attnlab.stages.prepare import prepared_data
from attnlab.training.history import History, read
from tests.runs import train_small

# Five validations, after every second step.
SHORT = ("stages=[train]", "dataset.train=160", "model.dim=8", "trainer.validate_every=0.2")


def trained(folder: Path, *overrides: str) -> Path:
    train_small(folder, *SHORT, f"paths.run={folder / 'run'}", *overrides)
    return folder / "run"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    words = ["logger.maps_every=2", "logger.maps_examples=3", "trainer.batches.eval_size=5"]
    return trained(tmp_path_factory.mktemp("maps"), *words)


def data_of(run: Path) -> tuple[Config, Prepared]:
    config, _ = load([*SHORT, f"paths.prepared={run.parent / 'prepared'}", "dataset.val=32"])
    return config, prepared_data(config)


def test_every_second_validation_is_kept_at_the_step_of_its_figures(run: Path) -> None:
    with (run / "history" / "val.csv").open() as file:
        validated = [int(row["step"]) for row in csv.DictReader(file)]
    assert len(validated) == 5
    assert [frame.step for frame in load_frames(run)] == validated[1::2]
    names = sorted(path.name for path in (run / "history" / "maps").iterdir())
    assert names == [f"step-{step:08}.json" for step in validated[1::2]]


def test_the_same_examples_each_time_in_their_own_shape(run: Path) -> None:
    first, second = load_frames(run)
    assert first.maps.keys() == second.maps.keys()
    assert len(first.maps) == 3
    assert first.maps != second.maps, "it learns"
    _, prepared = data_of(run)
    examples = {example.id: example for example in prepared.examples("val")}
    for id_, rows in first.maps.items():
        item = prepared.codec.encode(examples[id_], 0)
        assert np.shape(rows) == (item.queries, item.keys), "no padding"
        assert np.sum(rows, 1) == pytest.approx(np.ones(len(rows)), abs=0.01)


def test_none_are_kept_and_training_is_the_same(run: Path, tmp_path: Path) -> None:
    assert load(["logger.maps_every=0"])[0].logger.maps_every == 0, "the same as null"
    other = trained(tmp_path, "logger.maps_every=null", "trainer.batches.eval_size=5")
    assert not (other / "history" / "maps").exists()
    states: list[dict[str, Any]] = [
        torch.load(each / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for each in (run, other)
    ]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[1])
    for name in ("train.csv", "val.csv"):
        ours, theirs = ((each / "history" / name).read_text() for each in (run, other))
        assert ours == theirs


def test_a_resumed_run_forgets_what_it_writes_again(tmp_path: Path) -> None:
    history = History(tmp_path / "history")
    for step in (3, 7, 11):
        history.log_maps({"a": [[0.5, 0.5]]}, step)
    history.forget_from(7)
    [kept] = (tmp_path / "history" / "maps").iterdir()
    assert json.loads(kept.read_text()) == {"step": 3, "maps": {"a": [[0.5, 0.5]]}}


def written(folder: Path, steps: range) -> Path:
    history = History(folder)
    for step in steps:
        history.log_metrics({"train/loss": step / 10, "val/loss": 1.0}, step)
    return folder / "train.csv"


def test_a_table_begins_anew_where_there_is_no_checkpoint(tmp_path: Path) -> None:
    path = written(tmp_path, range(3))
    History(tmp_path).forget_from(0)
    assert not path.exists()
    assert not (tmp_path / "val.csv").exists()


def test_rows_from_a_step_on_are_written_again(tmp_path: Path) -> None:
    path = written(tmp_path, range(5))
    History(tmp_path).forget_from(3)
    written(tmp_path, range(3, 6))
    assert [row["step"] for row in read(path)] == ["0", "1", "2", "3", "4", "5"]


def test_a_row_that_was_cut_short_is_dropped(tmp_path: Path) -> None:
    path = written(tmp_path, range(3))
    whole = path.read_text()
    path.write_text(whole + "3,0")
    assert len(read(path)) == 3
    History(tmp_path).forget_from(3)
    assert path.read_text() == whole.replace("\r", "")


def test_a_table_is_rewritten_in_one_move(tmp_path: Path) -> None:
    """A link to the table as it was keeps all of it."""
    path = written(tmp_path, range(3))
    (tmp_path / "before").hardlink_to(path)
    History(tmp_path).forget_from(2)
    History(tmp_path).log_metrics({"train/loss": 0.2, "train/new": 1.0}, 2)
    assert len((tmp_path / "before").read_text().splitlines()) == 4
    assert read(path)[-1] == {"step": "2", "loss": "0.2", "new": "1"}
