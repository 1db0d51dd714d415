"""`attnlab clean` on data with mistakes that are known, and training without them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from attnlab.cli import main
from attnlab.config.compose import load
from attnlab.data.annotations import annotated
from attnlab.data.target import AttentionTarget
from attnlab.data.target_batch import collate_targets
from attnlab.stages.doubts import Doubt, examined, sections
from attnlab.stages.held_out import HeldOut, agreement, cross_entropy, folds
from attnlab.stages.prepare import prepared_data
from tests.commands import small

TINY = ("dataset.train=48", "dataset.val=8", "dataset.test=8", "model.dim=8")


def record(position: int, name: str, **values: object) -> HeldOut:
    usual = {
        "loss": 0.1, "prediction": "positive", "label": position % 2,
        "probabilities": [0.9, 0.1] if position % 2 == 0 else [0.1, 0.9], "map_loss": 0.1,
        "others": 4.0, "agreement": 0.9, "map": np.full((1, 40), 1 / 40, np.float32),
        "outlier_score": 0.8 + position % 5 / 10,
    }  # fmt: skip
    return HeldOut(position, name, **(usual | values))  # type: ignore[arg-type]


def test_every_position_is_held_out_once() -> None:
    parts = folds(11, 3, seed=1)
    assert sorted(position for part in parts for position in part) == list(range(11))
    assert parts != folds(11, 3, seed=2)


def test_agreement_is_mass_on_marks_and_overlap_of_soft_gold() -> None:
    whole, none = np.ones(3, bool), np.zeros(1, bool)
    marks = AttentionTarget(np.array([[1.0, 1.0, 0.0]]), np.ones(1, bool), whole)
    soft = AttentionTarget(np.array([[0.5, 0.25, 0.25]]), np.ones(1, bool), whole, kind="soft")
    missing = AttentionTarget(np.array([[1.0, 0.0, 0.0]]), none, whole)
    gold = collate_targets([marks, soft, missing], 1, 3)
    weights = torch.tensor([[[0.7, 0.1, 0.2]], [[0.5, 0.5, 0.0]], [[1.0, 0.0, 0.0]]])
    assert agreement(weights, gold)[:2].tolist() == pytest.approx([0.8, 0.75])
    assert agreement(weights, gold)[2].isnan()
    expected = -(np.log(0.7) + np.log(0.1)) / 2
    assert float(cross_entropy(weights, gold)[0]) == pytest.approx(expected, abs=1e-5)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("prepared")
    config, _ = load(small(folder, "experiment=reviews", *TINY))
    return prepared_data(config)


def test_doubts_become_lines_that_training_reads_and_a_page(prepared, tmp_path: Path) -> None:
    examples = prepared.examples("train")
    held_out = [record(i, example.id) for i, example in enumerate(examples)]
    held_out[3] = record(3, examples[3].id, map_loss=3.0)
    held_out[4] = record(4, examples[4].id, probabilities=[0.02, 0.98], loss=4.0)
    held_out[6] = record(6, examples[6].id, outlier_score=9.0)
    doubts = examined(held_out, prepared)
    assert [doubt.outlier for doubt in doubts if doubt.outlier] == ["9.0 times as far as usual"]
    assert [doubt.held_out.position for doubt in doubts if doubt.map] == [3]
    assert [doubt.held_out.position for doubt in doubts if doubt.label] == [4]
    twin = Doubt(held_out[5], twin="train-1")
    lines = [doubt.line() for doubt in (*doubts[:5], twin)]
    assert [line["keep"] for line in lines] == [True] * 4 + [False, False]
    assert [line["map_weight"] for line in lines] == [1, 1, 1, 0, 1, 1]
    file = tmp_path / "clean.jsonl"
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    learned = annotated(examples, file, "label")
    assert len(learned) == len(examples) - 2
    assert {examples[4].id, examples[5].id}.isdisjoint(each.id for each in learned)
    withheld, whole = learned[3].target, learned[2].target
    assert whole is not None and whole.query_mask.any()
    assert withheld is not None and not withheld.query_mask.any()
    answers, maps, leaks, repetitions, near, far = sections(doubts, prepared)
    assert answers.rows[0][0] == examples[4].id
    assert [caption for caption, _ in maps.pictures] == [f"{examples[3].id}: {doubts[3].map}"]
    assert not leaks.rows and not repetitions.rows and not near.rows
    assert [row[0] for row in far.rows] == [examples[6].id]
    assert doubts[6].line()["keep"], "it is named, and kept"


def test_models_that_know_nothing_cast_no_doubt(prepared) -> None:
    examples = prepared.examples("train")
    ignorant = {"probabilities": [0.4, 0.6], "map_loss": 3.0, "others": 3.1}
    held_out = [record(i, example.id, **ignorant) for i, example in enumerate(examples)]
    doubts = examined(held_out, prepared)
    assert not any(doubt.label or doubt.map for doubt in doubts)
    answers, maps, *_ = sections(doubts, prepared)
    assert "nothing can be said of answers" in answers.note
    assert "nothing can be said of maps" in maps.note


def test_the_command_writes_a_page_and_a_file_that_training_reads(tmp_path: Path, capsys) -> None:
    words = small(tmp_path, "experiment=reviews", *TINY, "trainer.threads=1")
    folder = tmp_path / "doubts"
    command = ["clean", *words, "--folds", "2", "--output", str(folder)]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert re.search(r"48 training examples of reviews: \d+ answers in doubt", printed)
    lines = [json.loads(line) for line in (folder / "clean.jsonl").read_text().splitlines()]
    assert len(lines) == 48 and all(0 <= line["agreement"] <= 1 for line in lines)
    assert "Gold maps in doubt" in (folder / "clean.html").read_text()
    assert main(command) == 0  # folds that are trained are picked up
    assert "fold 1" not in capsys.readouterr().out
    assert main(["clean", *words, "--folds", "1"]) == 2
    assert "--folds: 1 leaves nothing to train on" in capsys.readouterr().err
