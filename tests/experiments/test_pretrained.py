"""A pretrained model from rows to report: a tiny one, with random weights, from a folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from attnlab.cli import main
from tests.datasets.readers.files import rows
from tests.models import pretrained
from tests.runs import SHORT, figures, ran, shown


def test_reviews_are_evaluated_explained_and_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = pretrained.bert(tmp_path / "bert", max_position_embeddings=400)
    sizes = ["dataset.train=64", "dataset.val=8", "dataset.test=8"]
    sizes += ["dataset.max_sentences=4", "dataset.opinions=2", "dataset.distractors=1"]
    run = ran(tmp_path, "experiment=reviews", "model=hf", f"model.name={folder}", *SHORT, *sizes)
    assert run.parent.name == "reviews-bert-additive"
    found, example = figures(run), shown(run)
    assert found["controls"]["oracle"]["mass_on_gold"] == pytest.approx(1.0)
    assert 0 < found["attention"]["mass_on_gold"] < 1
    assert all(len(row) == len(example["keys"]) for row in example["map"]), "whole words"
    assert (run / "report.html").stat().st_size > 1000
    arguments = ["explain", str(run), "methods=[attention,rollout,chefer]", "examples=4"]
    arguments += ["trust.permutations=10", "trust.limits=2"]
    assert main([*arguments, "trust.adversary.steps=2", "trust.training.steps=0"]) == 0
    capsys.readouterr()
    explained = json.loads((run / "explanations.json").read_text())
    assert set(explained["examples"][0]["scores"]) == {"attention", "rollout", "chefer"}


def test_own_text_pairs_are_translated_and_aligned(tmp_path: Path) -> None:
    row = {"text": "the warm soup", "answer": "a dry cake", "links": "0-0 1-1 2p2"}
    run = ran(
        tmp_path,
        *SHORT,
        *rows(tmp_path, [row] * 12),
        "dataset/answer=text",
        "dataset/gold=links",
        "model=hf",
        f"model.name={pretrained.t5(tmp_path / 't5')}",
        "attention=multihead",
        "task=generate",
        "task.max_length=12",
    )
    found, example = figures(run), shown(run)
    assert found["controls"]["oracle"]["mass_on_gold"] == pytest.approx(1.0)
    assert example["gold"] == "a dry cake"
    assert [len(row) for row in example["map"]] == [3, 3, 3]
