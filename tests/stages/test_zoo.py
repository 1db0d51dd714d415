"""`attnlab zoo`: models that come with the package answer at once, and runs become as small."""

from __future__ import annotations

import json
import shutil
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import attnlab
from attnlab.cli import main
from attnlab.config.compose import load
from attnlab.errors import UserError
from attnlab.stages.run_folders import ZOO, existing_run, zoo_models
from attnlab.stages.zoo import MIB, size_of
from benchmarks.zoo import MODELS
from tests.commands import small

TEXTS = {  # model -> a text, and how its answer begins
    "dates": ("3 May 2021", "2021-05-03"),
    "support": (
        "customer : i have a question about my helmet . agent : what is the matter with it ? "
        "customer : it fell apart after one day . customer : please refund me . agent : may i have "
        "the number ? customer : yes , 7 4 3 . agent : when does it suit you ? customer : friday .",
        "we are sorry . the money for the helmet of order 7 4 3 is yours by friday .",
    ),
    "reviews": ("The film is wonderful and I loved it.", "positive"),
}


def first_example(dataset: str) -> Any:
    """Of the test split of an embedded dataset."""
    config, _ = load([f"dataset={dataset}", "task=classify" if dataset == "canvas" else "seed=0"])
    return next(iter(config.dataset.build().examples("test")))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> attnlab.TrainedRun:
    return attnlab.train(small(tmp_path_factory.mktemp("dates")))


@pytest.mark.parametrize("model", TEXTS)
def test_a_model_of_the_package_answers_a_text(
    model: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    text, answer = TEXTS[model]
    assert main(["predict", f"zoo/{model}", text]) == 0
    (said,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert said["predictions"][0]["answer"] == answer
    assert list(tmp_path.iterdir()) == [], "no data were needed"


def test_pictures_are_read_from_files(tmp_path: Path) -> None:
    """A PNG of twice the size, in colour, has the answer of the pixels themselves."""
    run = attnlab.load("zoo/digits")
    pixels = first_example("canvas").inputs["image"]
    grey = Image.fromarray((255 * np.asarray(pixels)[0]).astype(np.uint8))
    grey.resize((64, 64), Image.Resampling.NEAREST).convert("RGB").save(tmp_path / "a.png")
    read, given = run.predict([str(tmp_path / "a.png"), {"image": pixels}])
    assert read.text == given.text
    np.testing.assert_allclose(read.map, given.map, atol=0.05)
    (tmp_path / "b.png").write_text("no picture")
    with pytest.raises(UserError, match=r"b\.png' is no picture"):
        run.predict(str(tmp_path / "b.png"))


def test_sounds_are_read_from_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example = first_example("tones")
    samples = np.asarray(example.inputs["audio"])
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((1, 2, example.meta["sample_rate"], 0, "NONE", ""))
        file.writeframes((samples / np.abs(samples).max() * 32767).astype("<i2").tobytes())
    assert main(["predict", "zoo/tones", str(tmp_path / "a.wav"), "--no-maps"]) == 0
    (said,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert said["predictions"][0]["answer"] == "".join(example.answer)


def test_every_model_is_listed_is_small_and_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    models = zoo_models()
    assert [path.name for path in models] == sorted(MODELS)
    assert main(["zoo"]) == 0
    said = capsys.readouterr().out
    for path in models:
        assert size_of(path) < 3 * MIB
        assert f"zoo/{path.name} " in said
        run = attnlab.load(f"zoo/{path.name}")
        assert run.config.paths.prepared == "prepared"
        assert sum(p.numel() for p in run.model.parameters()) == run.figures["cost"]["parameters"]


def test_a_packed_run_answers_as_it_did_without_its_data(
    trained: attnlab.TrainedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["zoo", "pack", str(trained.folder), "mine"]) == 0
    packed = attnlab.load("mine")
    one, other = (run.predict("3 May 2021")[0] for run in (trained, packed))
    assert (one.text, one.score) == (other.text, other.score)
    assert packed.figures["answer"] == trained.figures["answer"]
    assert packed.run.status["state"] == "finished"
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    (answer,) = packed.predict("test", limit=1)  # of examples that are made now
    assert answer.text == trained.predict("test", limit=1)[0].text
    assert (tmp_path / "prepared").is_dir()
    assert len(packed.explain("3 May 2021", ["attention"])[0].scores["attention"]) > 0


@pytest.mark.parametrize("model", MODELS)
def test_a_key_that_came_later_has_the_value_of_the_experiment(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / model
    shutil.copytree(ZOO / model, folder)
    config = folder / "config.yaml"
    config.write_text(config.read_text(encoding="utf-8").replace("    sampling: shuffled\n", ""))
    assert attnlab.load(folder).config.trainer.batches.sampling == "shuffled"
    said = capsys.readouterr().err
    assert "older than " in said and "trainer.batches.sampling" in said


def test_what_was_changed_since_is_refused(trained: attnlab.TrainedRun, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    assert main(["zoo", "pack", str(trained.folder), str(folder)]) == 0
    assert main(["zoo", "pack", str(trained.folder), str(folder)]) == 2, "it is there"
    vocabulary = folder / "prepared" / "vocabulary.json"
    vocabulary.write_text(vocabulary.read_text(encoding="utf-8").replace("text", "test", 1))
    with pytest.raises(UserError, match="not what was packed"):
        attnlab.load(folder).predict("3 May 2021")
    meta = folder / "prepared" / "meta.json"
    meta.write_text(json.dumps(json.loads(meta.read_text()) | {"files": ["vocabulary.json"]}))
    with pytest.raises(UserError, match=r"meta\.json: damaged"):
        attnlab.load(folder).predict("3 May 2021")


def test_the_package_keeps_no_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for stage in ("evaluate", "explain", "report"):
        assert main([stage, "zoo/dates"]) == 2
        said = capsys.readouterr().err
        assert said.startswith(
            "attnlab: zoo/dates: belongs to the package, which keeps no results;"
        )
    with pytest.raises(UserError, match="did you mean 'zoo/dates'"):
        existing_run("zoo/datse")
    shutil.copytree(ZOO / "dates", tmp_path / "zoo" / "own")
    assert existing_run("zoo/own") == Path("zoo/own"), "a folder of that name comes first"
    assert main(["zoo", "pack", "zoo/own"]) == 2
