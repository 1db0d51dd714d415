"""`attnlab report` on runs that were really trained: alone, side by side, and as files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attnlab.cli import main
from attnlab.report.page import browser
from attnlab.report.rendering import unpack
from attnlab.report.tables import PER_EXAMPLE
from attnlab.text_files import read_table
from tests.runs import train_small


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    home = tmp_path_factory.mktemp("trained")
    found: list[Path] = []
    for attention in ("multihead", "dot"):
        words = [f"attention={attention}", f"name={attention}", "model=transformer"]
        words += ["dataset.test=48", "trainer.validate_every=0.5", "logger.maps_examples=4"]
        train_small(home, *words)
        found += (home / "runs" / attention).iterdir()
    return found


def data_of(page: Path) -> dict[str, Any]:
    text = page.read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found
    return json.loads(found[1])


def test_training_ends_with_the_page(folders: list[Path]):
    data = data_of(folders[0] / "report.html")
    assert len(data["examples"]) == 48
    heads = data["examples"][0]["runs"][0]["heads"]
    assert {"encoder.self.0", "decoder.self.0", "decoder.cross.1"} <= set(heads)
    assert all(abs(row.sum() - 1) < 0.05 for row in unpack(heads["encoder.self.0"])[0])
    assert set(data["runs"][0]["curves"]) >= {"train/loss", "val/loss"}
    about = data["runs"][0]["figures"]["about"]
    assert about["mass_on_gold"]["higher_is_better"] is True
    assert about["exact_match"]["help"]
    made = data["runs"][0]["provenance"]
    assert {"command", "mechanism", "seed", "data", "versions", "started"} <= made.keys()
    assert "attention=multihead" in made["differs from the defaults"].splitlines()
    assert "torch" in made["versions"]


def test_maps_over_training_are_shown(folders: list[Path]):
    film = data_of(folders[0] / "report.html")["runs"][0]["film"]
    kept = sorted((folders[0] / "history" / "maps").iterdir())
    assert [f"step-{step:08}.json" for step in film["steps"]] == [path.name for path in kept]
    assert len(kept) == 2
    assert len(film["examples"]) == 4
    assert all(example["keys"] and len(example["maps"]) == 2 for example in film["examples"])


def test_the_mean_of_the_heads_is_the_map_that_is_evaluated(folders: list[Path]):
    for example in data_of(folders[0] / "report.html")["examples"][:10]:
        seen = example["runs"][0]
        own = unpack(seen["map"])
        heads = unpack(seen["heads"]["decoder.cross.1"]).mean(0)
        assert np.allclose(heads[: len(own), : own.shape[1]], own, atol=0.01)


def test_runs_are_compared_on_the_same_examples(
    folders: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    page = tmp_path / "both.html"
    assert main(["report", *map(str, folders), "--output", str(page)]) == 0
    assert capsys.readouterr().out.strip() == str(page)
    data = data_of(page)
    assert data["settings"]["attention.name"] == ["multihead", "dot"]
    assert all(len([r for r in example["runs"] if r]) == 2 for example in data["examples"])
    found = {(d["group"], d["figure"]): d for d in data["differences"]}
    mass = found["attention", "mass_on_gold"]
    first, second = (read_table(folder / PER_EXAMPLE, "a command") for folder in folders)
    assert first["id"] == second["id"]
    loss = found["answer", "loss"]
    assert loss["low"] <= loss["difference"] <= loss["high"]
    assert mass["low"] <= mass["difference"] <= mass["high"]
    assert 0 < mass["p"] <= 1
    ours, theirs = (np.array(t["mass_on_gold"], float).mean() for t in (second, first))
    assert mass["difference"] == pytest.approx(
        ours - theirs, abs=0.02
    )  # pooled by rows, nearly the mean


@pytest.mark.skipif(browser() is None, reason="needs chromium on the path")
def test_figures_are_written_as_files(folders: list[Path], tmp_path: Path):
    page, pictures = tmp_path / "page.html", tmp_path / "figures"
    words = ["report", folders[0], "--output", page, "--export", pictures]
    assert main([str(word) for word in words]) == 0
    names = {path.name for path in pictures.iterdir()}
    assert {"figures-trust.svg", "figures-trust.png", "curve-loss.svg"} <= names
    assert len([n for n in names if n.startswith("heads-") and n.endswith(".png")]) == 8


def test_a_run_that_was_not_evaluated_says_what_to_do(
    folders: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "config.yaml").write_text((folders[0] / "config.yaml").read_text())
    assert main(["report", str(tmp_path)]) == 2
    assert f"try: attnlab evaluate {tmp_path}" in capsys.readouterr().err
