"""Prepared data that were changed are named, and reading those that were not costs nothing."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from attnlab.config.compose import load
from attnlab.config.dataset import Dataset
from attnlab.data import integrity
from attnlab.data.prepared import Prepared, prepare
from attnlab.errors import UserError


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return load(["dataset.train=8", "dataset.val=4", "dataset.test=4"])[0].dataset


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, dataset: Dataset) -> Path:
    return prepare(dataset, tmp_path_factory.mktemp("made") / "dates").folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy, which nobody has opened yet."""
    return Path(shutil.copytree(made, tmp_path / "dates"))


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are hashed."""
    names: list[str] = []
    real = integrity.file_hash

    def noted(path: Path) -> str:
        names.append(path.name)
        return real(path)

    monkeypatch.setattr(integrity, "file_hash", noted)
    return names


def edit_label(folder: Path) -> None:
    """Another digit in the answer, with size and first date as before."""
    path = folder / "test.jsonl"
    state, text = path.stat(), path.read_text()
    place = text.index('"answer":["') + len('"answer":["')
    path.write_text(text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1 :])
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert path.stat().st_size == state.st_size


def swap_splits(folder: Path) -> None:
    (folder / "val.jsonl").rename(folder / "x")
    (folder / "test.jsonl").rename(folder / "val.jsonl")
    (folder / "x").rename(folder / "test.jsonl")


def change_meta(folder: Path, **values: object) -> None:
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps(meta | values))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (edit_label, "test.jsonl differs from its hash"),
        (swap_splits, "test.jsonl differs from its hash; val.jsonl differs from its hash"),
        (lambda f: (f / "train.jsonl").write_text(""), "train.jsonl differs from its hash"),
        (lambda f: (f / "val.jsonl").unlink(), "val.jsonl is missing"),
        (lambda f: (f / "vocabulary.json").write_text("{"), "vocabulary.json differs from its"),
        (lambda f: (f / "train.image.npy").touch(), "train.image.npy was not prepared"),
        (lambda f: (f / "meta.json").write_text('{"dig'), "meta.json is no JSON ("),
        (lambda f: (f / "meta.json").write_text("[]"), "meta.json has no 'fingerprint'"),
        (lambda f: change_meta(f, digest="0" * 64), "meta.json contradicts itself"),
        (lambda f: change_meta(f, files={"train.jsonl": "x"}), "meta.json contradicts itself"),
        (lambda f: change_meta(f, files=3), "meta.json contradicts itself"),
    ],
)
@pytest.mark.parametrize("opened", [False, True])
def test_what_was_changed_is_named_and_kept(
    change: Callable[[Path], object], message: str, opened: bool, folder: Path, dataset: Dataset
) -> None:
    if opened:
        prepare(dataset, folder)
    change(folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(UserError) as caught:
        prepare(dataset, folder)
    assert str(caught.value).startswith(f"{folder}: damaged: {message}")
    next_step = f"\n  try: rm -r {folder}, then the same command prepares it anew"
    assert str(caught.value).endswith(next_step)
    assert before == {path.name: path.read_bytes() for path in folder.iterdir()}


def test_files_are_hashed_only_when_they_look_changed(
    folder: Path, dataset: Dataset, hashed: list[str]
) -> None:
    prepare(dataset, folder)
    files = sorted(Prepared(folder).meta["files"])
    assert sorted(hashed) == files, "of a copy all"
    hashed.clear()
    prepare(dataset, folder)
    assert hashed == []
    (folder / "val.jsonl").touch()
    prepare(dataset, folder)
    prepare(dataset, folder)
    assert hashed == ["val.jsonl"]
    hashed.clear()
    assert integrity.damage(folder, Prepared(folder).meta, thoroughly=True) == []
    assert sorted(hashed) == files


def test_what_was_just_prepared_is_not_hashed_again(
    tmp_path: Path, dataset: Dataset, hashed: list[str]
) -> None:
    prepare(dataset, tmp_path / "dates")
    hashed.clear()
    prepare(dataset, tmp_path / "dates")
    assert hashed == []


def test_a_folder_beside_which_nothing_can_be_written_is_read(
    folder: Path, dataset: Dataset
) -> None:
    (folder.parent / "..dates.whole.json.part").mkdir()  # in the place of the record's draft
    assert prepare(dataset, folder).meta["sizes"]["train"] == 8
    assert not (folder.parent / ".dates.whole.json").exists()


@pytest.mark.parametrize("content", ["", "[1]", '{"train.jsonl": [1, 2, 3]}'])
def test_a_damaged_record_costs_time_alone(content: str, folder: Path, dataset: Dataset) -> None:
    (folder.parent / ".dates.whole.json").write_text(content)
    edit_label(folder)
    with pytest.raises(UserError, match=r"test.jsonl differs"):
        prepare(dataset, folder)


def test_the_digest_is_that_of_the_names_and_hashes(folder: Path) -> None:
    meta = Prepared(folder).meta
    assert integrity.hashes(folder) == meta["files"]
    assert integrity.digest(meta["files"]) == meta["digest"]
    assert integrity.digest({"b": "00", "a": "ff"}) == integrity.digest({"a": "ff", "b": "00"})
