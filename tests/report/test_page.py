"""What a report says of how a run was made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from attnlab.report import page
from attnlab.report.page import provenance
from tests.report.reported import reported

ATTENTION = {
    "name": "dot",
    "score": {"kind": "dot"},
    "normalizer": {"kind": "softmax"},
    "dropout": 0,
}
CONFIG = {"seed": 0, "attention": ATTENTION}


def test_overrides_of_places_are_no_difference_from_the_defaults() -> None:
    overrides = ["attention=dot", "model.name=two words", "paths.runs=here", "resume=auto"]
    facts = provenance(CONFIG, {"overrides": overrides, "git_commit": "abc+", "started": 0.0})
    assert facts["command"].startswith("python train.py attention=dot 'model.name=two words'")
    assert facts["differs from the defaults"] == "attention=dot\nmodel.name=two words"
    assert facts["mechanism"] == "dot (score dot, normalizer softmax)"
    assert (facts["seed"], facts["commit"]) == ("0", "abc+")


def test_facts_that_an_older_run_did_not_record_are_left_out() -> None:
    facts = provenance(CONFIG, {})
    assert facts["differs from the defaults"] == "nothing"
    assert facts.keys().isdisjoint({"commit", "data", "versions", "started"})


def test_ids_of_examples_are_no_paths(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A run that somebody sends has ids of his choice."""
    monkeypatch.setenv("PATH", "")
    ids = ["../../outside", str(tmp_path / "absolute"), "..", "a/b", "a_b"]
    example = reported("dates", count=1).examples[0]
    examples = [replace(example, id=each) for each in ids]
    folder = tmp_path / "deep" / "figures"
    folder.parent.mkdir()
    files = page.export(tmp_path / "page.html", examples, folder)
    assert len({*files}) == 2 * len(ids)
    assert {path.parent for path in files} == {folder}
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]


@pytest.mark.parametrize("dataset", ["dates", "canvas", "tones"])
def test_maps_without_a_browser(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, dataset: str):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert page.browser() is None
    examples = reported(dataset, count=2).examples
    files = page.export(tmp_path / "page.html", examples, tmp_path / "figures")
    assert {path.suffix for path in files} == {".svg", ".png"}
    assert len(files) == 4
    assert all(path.stat().st_size > 2000 for path in files)
