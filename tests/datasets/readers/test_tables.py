"""Datasets of the hub: what they are like there, laid out in a folder, is what is read."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import pytest
from datasets import ClassLabel, List, Value

from attnlab.config.compose import config_dir
from attnlab.datasets.readers.config import Files
from attnlab.errors import UserError
from tests.datasets.readers.files import dataset, plain, read, whole, write
from tests.forms import load_fitting

SHIPPED = sorted(path.stem for path in (config_dir() / "dataset").glob("*_hub.yaml"))
TEXT, TEXTS = Value("string"), List(Value("string"))


def test_without_the_library_its_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    given = dataset(tmp_path, "dataset/reader=hub", "dataset.reader.id=x/y", whole("train"))
    with pytest.raises(UserError, match=r"needs datasets; try: pip install 'attnlab\[hub\]'"):
        read(given)


def test_what_the_library_saved(tmp_path: Path) -> None:
    features = datasets.Features(text=TEXT, label=ClassLabel(names=["bad", "good"]))
    rows = [{"text": "a fine film", "label": 1}, {"text": "dull", "label": 0}]
    saved = datasets.Dataset.from_list(rows, features=features)
    datasets.DatasetDict(train=saved, validation=saved).save_to_disk(str(tmp_path / "saved"))
    hub = ["dataset/reader=hub", "dataset.reader.id=saved"]
    examples = read(dataset(tmp_path, *hub, whole("train")))
    expected = [({"text": ["a", "fine", "film"]}, "good"), ({"text": ["dull"]}, "bad")]
    assert [plain(example) for example in examples] == expected
    with pytest.raises(UserError, match=r"no split 'val' in .*; .*allowed: train, validation"):
        read(dataset(tmp_path, *hub, "dataset.splits={train: train, val: val, test: 0.1}"), "val")


def test_what_is_not_there_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    given = dataset(tmp_path, "dataset/reader=hub", "dataset.reader.id=empty", whole("train"))
    with pytest.raises(
        UserError, match=r"dataset.reader.id: cannot load 'empty' \(.*\)$"
    ) as caught:
        read(given)
    assert "\n" not in str(caught.value)


def jsonl(row: dict[str, Any], folder: Path) -> None:
    write(folder / "train.jsonl", json.dumps(row))


def csv(row: dict[str, Any], folder: Path) -> None:
    write(folder / "atis_train.csv", ",".join(row), ",".join(map(str, row.values())))


def converted(features: dict[str, Any], *names: str) -> Callable[[dict[str, Any], Path], None]:
    """As the hub converts what a script describes: a folder for each configuration, here with one
    row more than the one before.
    """

    def lay_out(row: dict[str, Any], folder: Path) -> None:
        for rows, name in enumerate(names, start=1):
            path = folder / name / "train"
            path.mkdir(parents=True)
            saved = datasets.Dataset.from_list([row] * rows, features=datasets.Features(features))
            saved.to_parquet(str(path / "0000.parquet"))

    return lay_out


class There(NamedTuple):
    """A row of a dataset as the hub has it, and the example that is made of it."""

    row: dict[str, Any]
    lay_out: Callable[[dict[str, Any], Path], None]
    inputs: dict[str, Any]
    answer: Any
    gold: list[float] | None = None


ATIS = {"id": 0, "intent": "flight", "text": "from st. louis", "slots": "O B-city I-city"}
ATIS_WORDS = {"text": ["from", "st.", "louis"]}
HUB = {
    "multi30k_hub": There(
        {"en": "Two Dogs run.", "de": "Zwei Hunde."},
        jsonl,
        {"text": ["two", "dogs", "run", "."]},
        ["zwei", "hunde", "."],
    ),
    "sst2_hub": There(
        {"text": "a warm film .", "label": 1, "label_text": "positive"},
        jsonl,
        {"text": ["a", "warm", "film", "."]},
        "positive",
    ),
    "ag_news_hub": There(
        {"text": "Oil rises.", "label": 2},
        converted(
            {"text": TEXT, "label": ClassLabel(names=["World", "Sports", "Business", "Sci/Tech"])},
            "data",
        ),
        {"text": ["oil", "rises", "."]},
        "Business",
    ),
    "financial_phrasebank_hub": There(
        {"sentence": "Profit rose", "label": 2},
        converted(
            {"sentence": TEXT, "label": ClassLabel(names=["negative", "neutral", "positive"])},
            "sentences_allagree",
            "sentences_50agree",
        ),
        {"text": ["profit", "rose"]},
        "positive",
    ),
    "wnut17_hub": There(
        {"id": "0", "tokens": ["@paulwalk", "in", "London"], "ner_tags": [0, 0, 1]},
        converted(
            {"id": TEXT, "tokens": TEXTS, "ner_tags": List(ClassLabel(names=["O", "B-location"]))},
            "wnut_17",
        ),
        {"text": ["@paulwalk", "in", "London"]},
        ["O", "O", "B-location"],
    ),
    "atis_hub": There(ATIS, csv, ATIS_WORDS, ["O", "B-city", "I-city"]),
    "atis_intent_hub": There(ATIS, csv, ATIS_WORDS, "flight"),
    "scitldr_a_hub": There(
        {"source": ["We say", "It Is so"], "source_labels": [0, 1], "target": ["so"]},
        converted(
            {
                "source": TEXTS,
                "source_labels": List(ClassLabel(names=["non-oracle", "oracle"])),
                "target": TEXTS,
            },
            "Abstract",
            "FullText",
        ),
        {"text": [["we", "say"], ["it", "is", "so"]]},
        1,
        [0, 1],
    ),
    "eraser_movies_hub": There(
        {"review": "all in all ,\na fine film", "label": 1, "evidences": ["fine film"]},
        converted(
            {"review": TEXT, "label": ClassLabel(names=["NEG", "POS"]), "evidences": TEXTS},
            "default",
        ),
        {"text": ["all", "in", "all", ",", "a", "fine", "film"]},
        "POS",
        [0, 0, 0, 0, 0, 1, 1],
    ),
}


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_ones_are_read_as_the_hub_has_them(name: str, tmp_path: Path) -> None:
    there = HUB[name]
    overrides = [f"dataset={name}", f"dataset.folder={tmp_path}"]
    given = load_fitting(["~experiment", *overrides, whole("train")])[0].dataset
    assert isinstance(given, Files)
    folder = tmp_path / given.reader.id  # type: ignore[attr-defined]
    folder.mkdir(parents=True)
    there.lay_out(there.row, folder)
    (example,) = read(given)
    assert plain(example) == (there.inputs, there.answer)
    if there.gold is not None:
        assert example.target is not None
        assert example.target.weights.tolist() == [there.gold]
