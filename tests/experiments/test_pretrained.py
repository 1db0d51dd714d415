"""A pretrained model from rows to report: a tiny one, with random weights, from a folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from attnlab.cli import main
from attnlab.config.compose import load
from attnlab.stages import train
from tests.models import pretrained

TINY = [
    "trainer.max_epochs=1",
    "trainer.batches.size=32",
    "trainer.batches.eval_size=8",
    "trainer.progress=false",
    "trainer.threads=1",
    "logger=files",
    "logger.maps_examples=1",
]


def trained(tmp_path: Path, *overrides: str) -> Path:
    """The folder of a run."""
    paths = [f"paths.{name}={tmp_path / name}" for name in ("runs", "prepared")]
    everything = [*overrides, *TINY, *paths]
    config, plain = load(everything)
    train.main(config, plain, everything)
    (run,) = tmp_path.glob("runs/*/*")
    return run


def test_reviews_are_judged_explained_and_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = pretrained.bert(tmp_path / "bert", max_position_embeddings=400)
    sizes = ["dataset.train=64", "dataset.val=8", "dataset.test=8"]
    run = trained(tmp_path, "experiment=reviews", "model=hf", f"model.name={folder}", *sizes)
    assert run.parent.name == "reviews-bert-additive"
    figures = json.loads((run / "metrics.json").read_text())
    assert figures["controls"]["oracle"]["mass_on_gold"] == pytest.approx(1.0)
    assert 0 < figures["attention"]["mass_on_gold"] < 1
    shown = json.loads((run / "examples.json").read_text())[0]
    assert all(len(row) == len(shown["keys"]) for row in shown["map"]), "whole words"
    assert (run / "report.html").stat().st_size > 1000
    arguments = ["explain", str(run), "methods=[attention,rollout,chefer]", "examples=4"]
    assert main([*arguments, "trust.adversary.steps=2", "trust.training.steps=0"]) == 0
    capsys.readouterr()
    found = json.loads((run / "explanations.json").read_text())
    assert set(found["examples"][0]["scores"]) == {"attention", "rollout", "chefer"}


def test_own_text_pairs_are_translated_and_aligned(tmp_path: Path) -> None:
    row = {"text": "the warm soup", "answer": "a dry cake", "links": "0-0 1-1 2p2"}
    (tmp_path / "rows.jsonl").write_text(f"{json.dumps(row)}\n" * 24)
    run = trained(
        tmp_path,
        "~experiment",
        "dataset=files",
        "dataset/reader=jsonl",
        f"dataset.folder={tmp_path}",
        "dataset.splits={train: rows.jsonl, val: rows.jsonl, test: rows.jsonl}",
        "dataset/answer=text",
        "dataset/gold=links",
        "model=hf",
        f"model.name={pretrained.t5(tmp_path / 't5')}",
        "attention=multihead",
        "task=generate",
        "task.max_length=20",
    )
    figures = json.loads((run / "metrics.json").read_text())
    assert figures["controls"]["oracle"]["mass_on_gold"] == pytest.approx(1.0)
    shown = json.loads((run / "examples.json").read_text())[0]
    assert shown["gold"] == "a dry cake"
    assert [len(row) for row in shown["map"]] == [3, 3, 3]
