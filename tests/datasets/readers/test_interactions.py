"""Logs of who chose what: order, who is asked what, names, and what cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from attnlab.config.dataset import Dataset
from attnlab.data.example import Example, Split
from attnlab.errors import ConfigError, UserError
from tests.datasets.readers.files import shared, write
from tests.forms import load_fitting

LOG = [
    "user,item,time,stars",
    "ann,c,3,5",
    "ann,a,1,5",
    "ann,b,2,1",
    "bob,a,1,4",
    "ann,d,3,4",
    "bob,b,2,4",
    "bob,e,3,4",
    "bob,d,4,4",
    "eve,a,1,4",
]


def dataset(folder: Path, *overrides: str) -> Dataset:
    words = ["dataset=interactions", "task=rank", "dataset.file=log.csv", "dataset.fewest=4"]
    config, _ = load_fitting(
        [*words, f"dataset.folder={folder}", "objective=unsupervised", *overrides]
    )
    return config.dataset


def read(given: Dataset, split: Split) -> list[tuple[object, object]]:
    found: list[Example] = list(given.build().examples(split))
    return [(example.inputs["items"], example.answer) for example in found]


def test_last_item_is_asked_for_in_test_the_one_before_in_validation(tmp_path: Path) -> None:
    write(tmp_path / "log.csv", *LOG)
    given = dataset(tmp_path)
    assert read(given, "test") == [(["a", "b", "c"], "d"), (["a", "b", "e"], "d")]
    assert read(given, "val") == [(["a", "b"], "c"), (["a", "b"], "e")]
    assert read(given, "train") == [(["a"], "b"), (["a"], "b")]
    assert read(dataset(tmp_path, "dataset.longest=2"), "test")[0] == (["b", "c"], "d")
    source = given.build()
    vocabulary = source.vocabularies(source.examples("train"))["items"]
    assert set(vocabulary.units[4:]) == set("abcde"), "every item of the log can be recommended"
    assert source.notes() == {"users": "1 of 3 have fewer than 4 items"}


def test_order_of_the_file_where_there_is_no_time_and_low_ratings_left_out(tmp_path: Path) -> None:
    write(tmp_path / "log.csv", *LOG, "ann,f,0,5")
    given = dataset(tmp_path, "dataset.time=null", "dataset.rating=stars", "dataset.at_least=2")
    assert read(given, "test")[0] == (["c", "a", "d"], "f")


def test_items_are_called_by_their_titles_each_by_its_own(tmp_path: Path) -> None:
    write(tmp_path / "log.csv", *LOG)
    write(tmp_path / "names.csv", "id,name", "a,Alpha", "b,Same", "c,Same", "e,Epsilon")
    given = dataset(tmp_path, "dataset.titles={file: names.csv, item: id, title: name}")
    assert read(given, "test")[0] == (["Alpha", "Same [b]", "Same [c]"], "d")
    wrong = dataset(tmp_path, "dataset.titles={file: names.csv, item: id, title: nam}")
    with pytest.raises(UserError, match=r"^dataset.titles.title: no column 'nam' in names.csv; "):
        read(wrong, "test")


def test_what_cannot_be_used_is_said_in_one_line(tmp_path: Path) -> None:
    write(tmp_path / "log.csv", *LOG, "ann,g,soon,5", ",a,1,5")
    with pytest.raises(UserError) as caught:
        read(dataset(tmp_path), "test")
    assert str(caught.value) == (
        "dataset.file: 2 of 11 rows cannot be used (log.csv row 11: 'time' is no number: 'soon'; "
        "log.csv row 12: 'user' is empty); dataset.bad_rows allows 1.00%; "
        "to leave them out: dataset.bad_rows=0.19"
    )
    assert len(read(dataset(tmp_path, "dataset.bad_rows=0.2"), "test")) == 2
    for look in (lambda given: read(given, "test"), lambda given: given.build().require()):
        with pytest.raises(UserError, match=r"^dataset.user: no column 'usr' in log.csv; did you "):
            look(dataset(tmp_path, "dataset.user=usr"))
    with pytest.raises(UserError, match=r"^dataset.fewest: no user has 9 items in log.csv$"):
        read(dataset(tmp_path, "dataset.fewest=9", "dataset.bad_rows=0.5"), "test")


def test_settings_that_do_not_fit_are_told_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="reader 'conll' does not read tables"):
        dataset(tmp_path, "dataset/reader=conll")
    with pytest.raises(ConfigError, match="at_least needs the column of ratings"):
        dataset(tmp_path, "dataset.at_least=3")


def test_movielens_has_a_history_for_every_user() -> None:
    given = load_fitting(["experiment=ml_100k", f"paths.data={shared('ml_100k')}"])[0].dataset
    source = given.build()
    found = list(source.examples("test"))
    assert len(found) == 943
    assert sum(len(e.inputs["items"]) + 1 for e in found) == 100_000  # type: ignore[arg-type]
    assert len(source.vocabularies([])["items"].units) == 4 + 1682
