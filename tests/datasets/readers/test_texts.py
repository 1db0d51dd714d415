"""Long texts in windows, and answers that are numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from attnlab.config.compose import compose, resolve
from attnlab.config.dataset import Dataset
from attnlab.data.prepared import prepare
from attnlab.errors import UserError
from tests.datasets.readers.files import dataset, read, shared, whole, write

LINE = "To be, or not to be:\nthat is the question.\n"


def plain(folder: Path, *overrides: str) -> Dataset:
    words = ["~experiment", "dataset=text", f"dataset.folder={folder}", *overrides]
    return Dataset.model_validate(resolve(compose(words))["dataset"])


def test_windows_hold_the_text_as_it_stands(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(LINE * 40, encoding="utf-8")
    source = plain(tmp_path, "dataset.context=16").build()
    texts = {}
    for split in ("train", "val", "test"):
        examples = list(source.examples(split))
        assert all(len(example.inputs["text"]) == 16 for example in examples)
        assert all(example.answer is None for example in examples)
        texts[split] = "".join("".join(example.inputs["text"]) for example in examples)
    size = len(LINE) * 40
    assert (LINE * 40).startswith(texts["train"])
    assert len(texts["train"]) == round(size * 0.8) // 16 * 16
    assert (LINE * 40)[round(size * 0.8) :].startswith(texts["val"])
    assert (LINE * 40)[round(size * 0.9) :].startswith(texts["test"])


def test_training_windows_may_overlap(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(LINE * 40, encoding="utf-8")
    source = plain(tmp_path, "dataset.context=16", "dataset.stride=4").build()
    starts = [example.meta["start"] for example in source.examples("train")]
    assert starts[:3] == [0, 4, 8]
    assert [example.meta["start"] for example in source.examples("val")][:2] == [0, 16]


def test_words_may_be_the_units(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(LINE * 40, encoding="utf-8")
    words = ["dataset.units=punctuation", "dataset.context=4", "dataset.lowercase=true"]
    first = next(iter(plain(tmp_path, *words).build().examples("train")))
    assert first.inputs["text"] == ["to", "be", ",", "or"]


def test_a_text_is_prepared_with_the_units_of_training(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(LINE * 40 + "~" * 200, encoding="utf-8")
    prepared = prepare(plain(tmp_path), tmp_path / "prepared")
    units = prepared.codec.texts["text"].words
    assert {" ", "\n", "T"} <= set(units)
    assert "~" not in units
    assert prepared.codec.form == "nothing"


def test_bytes_that_are_no_text_end_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe" * 100)
    with pytest.raises(UserError, match=r"a\.txt: not UTF-8"):
        next(iter(plain(tmp_path).build().examples("train")))


def test_shakespeare() -> None:
    folder = shared("tinyshakespeare") / "tinyshakespeare"
    files = ["dataset.splits={train: input.txt.gz, val: 0.05, test: 0.05}"]
    source = plain(folder, *files).build()
    assert len(source._part("train")) == 1_003_854  # as in nanoGPT
    assert len(set(source._part("train"))) == 65


def test_one_number_is_an_answer(tmp_path: Path) -> None:
    write(
        tmp_path / "a.csv", "text,score", "a,1.5", "b,-2", "c,nan", "d,inf", "e,many", "f,", "g,1e3"
    )
    overrides = [whole("a.csv"), "dataset/answer=number", "dataset.bad_rows=0.9"]
    given = dataset(tmp_path, *overrides)
    source = given.build()
    assert [example.answer for example in source.examples("train")] == [1.5, -2.0, 1000.0]
    assert "4 of 7 rows" in source.notes()["train"]
    assert "'score' is no number: 'nan'" in source.notes()["train"]
    assert given.answer_form == "numbers"


def test_several_numbers_are_an_answer(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "text,x,y", "a b c,1,2", "b,3,4")
    numbers = ["dataset/answer=numbers", "dataset.answer.columns=[x,y]", "dataset.words.longest=1"]
    given = dataset(tmp_path, whole("a.csv"), *numbers)
    assert [example.answer for example in read(given)] == [[1.0, 2.0], [3.0, 4.0]]
    assert given.answer_form == "numbers"
    missing = dataset(tmp_path, whole("a.csv"), *numbers[:1], "dataset.answer.columns=[x,z]")
    with pytest.raises(UserError, match=r"dataset\.answer\.columns\.1: no column 'z'"):
        read(missing)
