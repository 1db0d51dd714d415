"""A user's own files, from the first row to the report, for each form of answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.datasets.readers.files import rows
from tests.runs import figures, ran, shown

FORMS: dict[str, tuple[dict[str, object], list[str]]] = {
    "generate": (
        {"text": "the low houses", "answer": "die niedrigen Häuser", "links": "0-0 1-1 2p2"},
        [
            "dataset/answer=text",
            "dataset/gold=links",
            "dataset/tokenizer=bpe",
            "dataset.tokenizer.size=40",
            "task=generate",
            "task.max_length=20",
        ],
    ),
    "classify": (
        {"text": "a film to forget", "label": "bad", "rationale": [[2, 4]]},
        ["dataset/gold=spans", "dataset/tokenizer=characters", "task=classify"],
    ),
    "tag": (
        {"text": "John Smith sleeps", "tag": "B-per I-per O"},
        ["dataset/answer=tags", "task=tag"],
    ),
    "attend": (
        {"text": "look here not there", "scores": [1, 5, 2, 1]},
        [
            "dataset/answer=none",
            "dataset/gold=scores",
            "dataset/tokenizer=unigram",
            "dataset.tokenizer.size=30",
            "task=attend",
            "objective=unsupervised",
            "metrics=gaze",
        ],
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_own_files_from_rows_to_report(
    form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row, overrides = FORMS[form]
    run = ran(
        tmp_path,
        *rows(tmp_path, [row] * 24),
        *overrides,
        "model.dim=16",
        "trainer.max_epochs=1",
        "trainer.batches.size=12",
    )
    found, example = figures(run), shown(run)
    assert len(found["answer"]) > 1
    assert (run / "report.html").stat().st_size > 1000
    assert example["keys"] == str(row["text"]).split(), "whole words, whatever the model sees"
    assert all(len(line) == len(example["keys"]) for line in example["map"])
    assert len(example["map"]) == len(example["queries"])
    if form in ("generate", "classify"):
        assert found["controls"]["oracle"]["mass_on_gold"] == pytest.approx(1.0)
    if form == "tag":  # without gold, there is nothing to compare maps with
        assert found["attention"] == {}
        table = capsys.readouterr().out
        assert "trust" in table
        assert not any(word in table for word in ("attention ", "nan"))


def test_stars_are_learned_apart_and_said_as_good_or_bad(tmp_path: Path) -> None:
    stars = [{"text": f"a film of {n} stars", "label": str(n)} for n in range(1, 6)]
    run = ran(
        tmp_path,
        *rows(tmp_path, [each for each in stars if each["label"] != "3"] * 6),
        "task=classify",
        "task.merge_labels={1: 2, 4: 5}",
        "model.dim=16",
        "trainer.max_epochs=1",
    )
    scores = (run / "per_example.csv").read_text().splitlines()
    assert "accuracy" in scores[0]
    examples = json.loads((run / "examples.json").read_text())
    said = {example[name] for example in examples for name in ("gold", "prediction")}
    assert said <= {"2", "5"}, "gold and answers by the names that are asked for"
