"""`model.init=RUN`: only a training that begins starts with another run's parameters."""

from __future__ import annotations

import csv
import json
import re
import shlex
import shutil
from pathlib import Path
from random import Random

import pytest
import torch

from attnlab.config.compose import load
from attnlab.errors import UserError
from attnlab.stages import train
from attnlab.stages.run import open_run
from attnlab.stages.trained_run import TrainedRun
from attnlab.stages.zoo import pack
from attnlab.training.checkpoint import read_checkpoint
from tests.commands import REPOSITORY, small
from tests.runs import ran

REVIEWS = [
    *("experiment=reviews", "model=transformer", "attention=multihead", "model.dim=16"),
    *("dataset.train=64", "dataset.val=16", "dataset.test=16", "metrics.figures=[]"),
]
ONE_STEP = ["trainer.max_steps=1", "trainer.optimizer.lr=1e-9", "stages=[prepare,train]"]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ran(tmp_path_factory.mktemp("source"), *REVIEWS, "trainer.max_epochs=1", "seed=7")


def weights(run: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(run / "checkpoints" / "last.ckpt")["state_dict"]


def test_a_run_starts_with_another_one_and_goes_on_without_it(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    shutil.copytree(source, other)
    words = small(tmp_path, *REVIEWS, f"model.init={other}", *ONE_STEP, "trainer.max_epochs=9")
    folder = tmp_path / "run"
    words = [*words, f"paths.run={folder}", "resume=auto"]
    config, plain = load(words)
    train.main(config, plain, words)
    said = capsys.readouterr().out
    assert said.count(f"model.init: {other}: ") == 1 and " numbers taken" in said
    best = TrainedRun(open_run(source)).model.state_dict()
    for name, values in weights(folder).items():
        torch.testing.assert_close(values, best[name.removeprefix("model.")], atol=1e-6, rtol=0)

    shutil.rmtree(other)
    longer = [word for word in words if "max_steps" not in word] + ["trainer.max_steps=2"]
    config, plain = load(longer)
    train.main(config, plain, longer)
    said = capsys.readouterr().out
    assert "resuming" in said and "model.init" not in said
    assert read_checkpoint(folder / "checkpoints" / "last.ckpt")["global_step"] == 2


@pytest.mark.parametrize(
    ("name", "said"), [("none", "not a run's folder"), ("own", "is this run itself")]
)
def test_a_run_that_cannot_be_is_said_with_the_key(tmp_path: Path, name: str, said: str) -> None:
    folder = f"paths.run={tmp_path / 'own'}"
    words = small(tmp_path, *REVIEWS, f"model.init={tmp_path / name}", *ONE_STEP, folder)
    config, plain = load(words)
    with pytest.raises(UserError, match=rf"^model\.init: .*{said}"):
        train.main(config, plain, words)


def test_a_model_of_the_zoo_is_a_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ("dataset.train=64", "dataset.val=16", "dataset.test=16", "metrics.figures=[]")
    ran(tmp_path, "experiment=reviews", *sizes, "model.init=zoo/reviews", *ONE_STEP)
    said = re.search(r"model\.init: zoo/reviews: (.*) of (.*) numbers", capsys.readouterr().out)
    assert said is not None
    taken, whole = (int(number.replace(",", "")) for number in said.groups())
    assert taken > 0.95 * whole  # words that the few texts lack, or the zoo's


@pytest.mark.parametrize(
    ("tuning", "packed_as"),
    [("lora", "full"), *((name, name) for name in ("adapters", "prefix", "prompt"))],
)
def test_a_tuned_run_counts_what_it_trained_and_is_packed(
    source: Path, tmp_path: Path, tuning: str, packed_as: str
) -> None:
    tuned = (f"model.init={source}", f"model/tuning={tuning}", "trainer.max_epochs=1")
    run = ran(tmp_path, *REVIEWS, *tuned)
    cost = json.loads((run / "metrics.json").read_text())["cost"]
    whole = json.loads((source / "metrics.json").read_text())["cost"]
    assert whole["trained_parameters"] == whole["parameters"] <= cost["parameters"]
    assert (whole["parameters"] == cost["parameters"]) is (packed_as == "full")
    assert 0 < cost["trained_parameters"] < cost["parameters"] / 2
    packed = open_run(pack(open_run(run), tmp_path / "packed"))
    assert packed.config.model.tuning.kind == packed_as and packed.config.model.init is None
    mine, theirs = (TrainedRun(each).model.state_dict() for each in (open_run(run), packed))
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_a_model_that_restores_texts_is_a_start_for_one_that_writes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command of the page, with few texts and a small model."""
    random = Random(0)
    rows = [" ".join(random.choices("abcdef", k=5)) for _ in range(64)]
    with (tmp_path / "texts.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "to"), *((row, row[::-1]) for row in rows)])
    page = (REPOSITORY / "docs" / "few_labels.md").read_text(encoding="utf-8")
    block = page.partition("to restore texts")[2].partition("python train.py ")[2]
    command = shlex.split(block.partition("\n\n")[0].replace("\\\n", " "))
    here = ("dataset.folder=", "paths.run=")
    small = ("model.dim=16", "model.encoder_layers=1", "model.decoder_layers=1")
    small = (*small, "stages=[prepare,train,evaluate]", f"dataset.folder={tmp_path}")
    words = [word for word in command if not word.startswith(here)]
    few = ("trainer.max_epochs=2", "trainer.batches.size=16")
    restored = ran(tmp_path / "restored", *words, *small, *few)
    assert json.loads((restored / "metrics.json").read_text())["answer"]["loss"] > 0
    other = [word for word in words if "augment" not in word]
    other = [*other, "dataset.answer.column=to", f"model.init={restored}"]
    capsys.readouterr()
    ran(tmp_path / "writes", *other, *small, "trainer.max_steps=1")
    said = capsys.readouterr().out
    taken = re.search(r"model\.init: .*: (.*) of (.*) numbers taken", said)
    assert taken is not None and taken[1] == taken[2] and "; new:" not in said
