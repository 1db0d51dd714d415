"""What a module is built on, and that prepared data follow the code that made them."""

from __future__ import annotations

from pathlib import Path

import pytest

from attnlab.data import integrity as code
from attnlab.data import prepared
from attnlab.data.prepared import fingerprint
from tests.datasets.generators.conftest import dataset_of
from tests.datasets.readers.files import dataset, whole, write


def test_imports_are_followed_wherever_they_stand(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    package = tmp_path / "lent"
    (package / "parts").mkdir(parents=True)
    write(package / "__init__.py", "")
    write(package / "parts/__init__.py", "from lent.parts.deep import value")
    write(package / "parts/deep.py", "value = 1")
    write(package / "typed.py", "")
    write(package / "late.py", "import json")
    write(
        package / "top.py",
        "from typing import TYPE_CHECKING",
        "from .parts import value",
        "if TYPE_CHECKING:",
        "    from lent import typed",
        "def later():",
        "    import lent.late",
    )
    found = code.dependencies(["lent.top"])
    assert set(found) == {"lent.top", "lent.parts", "lent.parts.deep", "lent.late"}
    assert "lent.late" not in code.dependencies(["lent.top"], without=["lent.late"])


def test_a_plugin_brings_the_files_beside_it(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    write(tmp_path / "my_words.py", "WORDS = []")
    write(tmp_path / "my_data.py", "from my_words import WORDS", "import attnlab.data.target")
    found = code.dependencies(["my_data"])
    assert {"my_data", "my_words", "attnlab.data.target", "attnlab.data.groups"} <= set(found)


def behind(section) -> set[str]:
    """The modules whose source is in the fingerprint."""
    read: set[str] = set()

    def kept(modules, without=()):
        found = code.dependencies(modules, without)
        read.update(found)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepared, "dependencies", kept)
        fingerprint(section)
    return read


GOLD = {"attnlab.data.target", "attnlab.data.groups", "attnlab.data.example"}


def test_a_cure_of_gold_makes_new_data(tmp_path: Path) -> None:
    assert GOLD | {"attnlab.datasets.targets"} <= behind(dataset_of("reviews"))
    write(tmp_path / "a.csv", "text,label", "a,b")
    links = ["dataset/gold=links", "dataset/answer=text"]
    files = behind(dataset(tmp_path, whole("a.csv"), *links))
    assert GOLD | {"attnlab.datasets.targets"} <= files
    assert {"attnlab.datasets.readers.tables", "attnlab.data.tokenizers"} <= files


def test_data_do_not_depend_on_what_only_trains() -> None:
    read = behind(dataset_of("reviews"))
    answers = {name for name in read if name.startswith("attnlab.tasks.")}
    assert answers == {"attnlab.tasks.classify.answer"}, "the form of its answers, no head or loss"
    assert {name.split(".")[1] for name in read - answers} == {"data", "datasets"}
    assert "attnlab.datasets.generators.dates" not in read
