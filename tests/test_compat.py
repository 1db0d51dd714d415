"""Tests of what is used of other packages beside their public interfaces."""

from __future__ import annotations

import json
import platform
import resource
import subprocess
import sys
from pathlib import Path

import lightning
import optuna
import pytest
import torch
import wandb
from sacrebleu.metrics.bleu import BLEU
from torch import Tensor, nn
from torch.utils.data import DataLoader

from attnlab import compat
from tests.commands import environment
from tests.wandb_logs import logs, of_kind

PACKAGE = Path(compat.__file__).parent

PROGRAM = """
import resource
from attnlab.compat import keep_freed_memory

def large():
    return b"x" * {size}

def cleared():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

{first}
large()
before = cleared()
for _ in range(10):
    large()
print(cleared() - before)
"""
SIZE = 50_000_000
ALL = 10 * SIZE // resource.getpagesize()


def test_no_other_module_does() -> None:
    private = {
        "compat.py": ("_batches_that_stepped", "_log_artifact", "._trial_id"),
        "hydra_compat.py": ("hydra._internal", "omegaconf._utils"),
    }
    texts = {path.name: path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")}
    for owner, names in private.items():
        using = {file for file, text in texts.items() for name in names if name in text}
        assert using == {owner}


class Model(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.steps: list[int] = []

    def training_step(self, batch: Tensor) -> Tensor:
        self.steps.append(compat.lightning_steps(self.trainer))
        return self.layer(batch).sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def test_lightning_steps(tmp_path: Path) -> None:
    """With two batches to a step, the number grows by one in two batches."""
    model = Model()
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=1,
        accumulate_grad_batches=2,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    data = [torch.ones(1) for _ in range(4)]
    trainer.fit(model, DataLoader(data))  # type: ignore[arg-type]
    assert model.steps == [0, 0, 1, 1]


def test_wandb_use_artifact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "staged"))
    with wandb.init(mode="offline", dir=tmp_path) as run:
        artifact = wandb.Artifact("data", type="dataset")
        with artifact.new_file("about.json") as file:
            json.dump({}, file)
        compat.wandb_use_artifact(run, artifact, ["one"])
    [log] = logs(tmp_path)
    [written] = of_kind("artifact", log)
    assert [entry["path"] for entry in written["manifest"]["contents"]] == ["about.json"]


def test_wandb_relative_artifacts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "staged"))
    (tmp_path / "model.txt").write_text("x")
    with wandb.init(mode="offline", dir=tmp_path) as run:
        compat.wandb_relative_artifacts(run)
        artifact = wandb.Artifact("model", type="model")
        artifact.add_file("model.txt")
        run.log_artifact(artifact)
        run.log({"table": wandb.Table(["a"], [[1]])})
    [log] = logs(tmp_path)
    written = [entry for each in of_kind("artifact", log) for entry in each["manifest"]["contents"]]
    assert [Path(entry["local_path"]).parts[:3] for entry in written] == 2 * [
        ("staged", "artifacts", "staging")
    ]


def test_optuna_reopened() -> None:
    study = optuna.create_study()
    first = study.ask()
    chosen = first.suggest_float("lr", 0, 1)
    again = compat.optuna_reopened(study, study.get_trials()[0])
    assert again.number == first.number
    assert again.suggest_float("lr", 0, 1) == chosen


def test_sacrebleu_counts_make_its_figure() -> None:
    scorer = BLEU()
    pairs = [("the cat sat on the mat", "the cat sat on a mat"), ("a dog runs fast", "a dog runs")]
    counts = [compat.sacrebleu_statistics(scorer, said, [gold]) for said, gold in pairs]
    sums = [sum(each) for each in zip(*counts, strict=True)]
    whole = scorer.corpus_score([said for said, _ in pairs], [[gold for _, gold in pairs]])
    assert compat.sacrebleu_score(scorer, sums) == pytest.approx(whole.score)


def pages_cleared(first: str, **variables: str) -> int:
    """While ten large blocks are had and freed, after one that was as large."""
    program = PROGRAM.format(first=first, size=SIZE)
    environ = {n: v for n, v in environment().items() if not n.startswith("MALLOC_")}
    command = [sys.executable, "-c", program]
    return int(subprocess.check_output(command, env=environ | variables, text=True))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left alone")
def test_freed_memory_is_kept_unless_the_environment_has_decided() -> None:
    assert pages_cleared("") > 0.9 * ALL
    assert pages_cleared("keep_freed_memory()") < 0.01 * ALL
    assert pages_cleared("keep_freed_memory()", MALLOC_ARENA_MAX="2") > 0.9 * ALL


HIDDEN = """
import sys
from attnlab.compat import hide_extras_of_torchmetrics, show_extras_of_torchmetrics

hide_extras_of_torchmetrics()
{then}
import lightning.pytorch
print(*[name in sys.modules for name in ("transformers", "scipy.signal", "matplotlib")])
"""


@pytest.mark.parametrize(
    ("then", "imported"), [("", False), ("show_extras_of_torchmetrics()", True)]
)
def test_lightning_comes_without_the_extras_of_torchmetrics(then: str, imported: bool) -> None:
    command = [sys.executable, "-c", HIDDEN.format(then=then)]
    printed = subprocess.check_output(command, env=environment(), text=True)
    assert printed.split() == [str(imported)] * 3
