"""Inputs that some examples lack, from the data to the report and to new questions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from attnlab.errors import UserError
from attnlab.stages import predict
from tests.datasets.readers.files import write
from tests.experiments.test_experiments import tiny
from tests.runs import figures, ran, shown


def answers(run: Path, rows: Path) -> list[dict]:
    out = rows.with_suffix(".out")
    predict.main([str(run), "--input", str(rows), "--output", str(out)])
    return [json.loads(line) for line in out.read_text().splitlines()]


def test_texts_whose_question_may_be_missing(tmp_path: Path) -> None:
    rows = [f"about this,{'why ?' if i % 2 else ''},{'xy'[i % 2]}" for i in range(24)]
    write(tmp_path / "rows.csv", "text,asked,label", *rows)
    run = ran(
        tmp_path,
        "~experiment",
        "dataset=files",
        "dataset/reader=csv",
        f"dataset.folder={tmp_path}",
        "dataset.splits={train: rows.csv, val: rows.csv, test: rows.csv}",
        "+dataset.inputs.question=asked",
        "dataset.optional=[question]",
        "task=classify",
        "objective=unsupervised",
        "metrics.figures=[]",
        "model.dim=16",
        "trainer.max_epochs=30",
        "trainer.optimizer.lr=0.01",
        "trainer.batches.size=12",
    )
    assert figures(run)["answer"]["accuracy"] == 1, "whether there is a question is all there is"
    assert shown(run)["context"] == {}
    write(tmp_path / "new.csv", "text,asked", "about this,", "about this,why ?", ",why ?")
    said = answers(run, tmp_path / "new.csv")
    assert [each["predictions"][0]["answer"] for each in said[:2]] == ["x", "y"]
    assert said[0]["inputs"] == {"text": ["about", "this"]}
    assert said[2]["problem"] == "'text' is empty"


def test_pictures_that_some_questions_lack(tmp_path: Path) -> None:
    words = ["+dataset.missing.image=0.5", "model.input_dropout=0.2", "model.co_attention=1"]
    run = ran(tmp_path, *tiny("questions"), "dataset.test=16", *words)
    examples = json.loads((run / "examples.json").read_text())
    lacking = [e for e in examples if e["picture"] is None]
    assert 0 < len(lacking) < 16
    for example in lacking:
        assert set(example["keys"]) == {"no image"}
        assert not any(any(row) for row in example["gold_map"])
    assert figures(run)["controls"]["oracle"]["mass_on_gold"] == pytest.approx(1.0)
    assert (run / "report.html").stat().st_size > 1000


def test_control_that_never_sees_the_picture(tmp_path: Path) -> None:
    run = ran(tmp_path, *tiny("canvas_caption"), "+dataset.missing.image=1")
    found = figures(run)
    assert found["answer"]["exact_match"] is not None
    assert found["attention"]["mass_on_gold"] is None, "there is nothing to look at"


def test_input_that_is_not_there_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        ran(tmp_path, *tiny("questions"), "+dataset.missing.audio=0.5")
    line = "dataset.missing.audio: no input 'audio'; allowed: image, question"
    assert str(caught.value) == line
