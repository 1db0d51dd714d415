"""`attnlab attack` on a run of texts and on one of pictures."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

import pytest

from attnlab.cli import main
from attnlab.errors import UserError
from attnlab.stages.attack import kinds
from attnlab.stages.attacked_split import attacked, differences
from attnlab.stages.run import open_run
from attnlab.stages.trained_run import TrainedRun
from tests.runs import SHORT, ran

FEW = ("stages=[prepare,train]", "model.dim=8", "dataset.train=32", "dataset.val=8")


def attacks(run: Path) -> dict[tuple[str, str], dict]:
    content = json.loads((run / "attack.json").read_text())
    return {(each["attack"], each["level"]): each for each in content["attacks"]}


def test_texts_are_attacked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = ran(tmp_path, "experiment=reviews", *SHORT, *FEW, "dataset.test=4")
    assert main(["attack", str(run), "--examples", "3", "--share", "0.1"]) == 0
    assert "typos" in capsys.readouterr().out
    found = attacks(run)
    assert ("none", "") in found and ("deletions", "greedy") in found
    assert found["none", ""]["map_moved"][0] == pytest.approx(0, abs=1e-6)
    assert found["typos", "random"]["changed"] > 0
    assert found["deletions", "greedy"]["map_moved"] == [None, None, None]
    assert found["none", ""]["mass_on_gold"][0] > 0
    assert "Under attack" in (run / "attack.html").read_text()


def test_only_right_answers_can_become_wrong(tmp_path: Path) -> None:
    run = ran(tmp_path, "experiment=reviews", *SHORT, *FEW, "dataset.test=12")
    options = Namespace(examples=12, share=0.3)
    none, _, greedy = attacked(TrainedRun(open_run(run)), ["typos"], options)
    assert not all(none.right), "this model has wrong answers of its own"
    lost = [before and not after for before, after in zip(none.right, greedy.right, strict=True)]
    assert len(greedy.shown) == sum(lost)


def test_changes_of_words_are_named() -> None:
    own = ["the", "cast", "was", "the", "best"]
    assert list(differences(own, ["the", "csat", "was", "the", "bset"])) == [
        "cast → csat",
        "best → bset",
    ]
    assert list(differences(own, ["the", "was", "the"])) == ["cast left out", "best left out"]


def test_pictures_are_attacked(tmp_path: Path) -> None:
    words = ("experiment=canvas_classify", *SHORT, *FEW, "dataset.test=4")
    run = ran(tmp_path, *words)
    command = ["attack", str(run), "--examples", "4", "--size", "0.1", "--steps", "2"]
    assert main([*command, "--restarts", "1"]) == 0
    found = attacks(run)
    assert {name for name, _ in found} == {
        "none", "random signs", "fgsm", "pgd", "map", "noise", "blur", "crop",
    }  # fmt: skip
    assert found["pgd", "0.1"]["changed"] == pytest.approx(0.1, abs=1e-5)
    assert found["pgd", "0.1"]["accuracy"][0] <= found["none", ""]["accuracy"][0]
    assert found["map", "0.1"]["map_moved"][0] > 0
    assert main(["attack", str(run), "--size", "0"]) == 2


def test_an_attack_that_does_not_fit_is_named() -> None:
    assert kinds("typos", "text") == ["typos"]
    with pytest.raises(UserError, match="no 'pdg'; did you mean 'pgd'"):
        kinds("pdg", "picture")
    with pytest.raises(UserError, match="'pgd' does not fit a text"):
        kinds("typos,pgd", "text")
    with pytest.raises(UserError, match="form 'sentences' has no attack"):
        kinds(None, "sentences")
