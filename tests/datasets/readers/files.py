"""Small files as users have them, and the dataset that reads them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from attnlab.data.example import Example, Split
from attnlab.data.prepared import Prepared, prepare
from attnlab.datasets.readers.config import Files
from tests.commands import REPOSITORY
from tests.forms import load_fitting

SHARED = REPOSITORY.parent / "shared" / "data"


def shared(folder: str) -> Path:
    """A folder of real data; the test is skipped where it is not there."""
    if not (SHARED / folder).is_dir():
        pytest.skip(f"no real data in {SHARED / folder}")
    return SHARED


def dataset(folder: Path, *overrides: str) -> Files:
    """`conf/dataset/files.yaml` over a folder, with its own settings and no recipe's."""
    words = ["dataset=files", f"dataset.folder={folder}", "model=recurrent"]
    config, _ = load_fitting([*words, *overrides])
    assert isinstance(config.dataset, Files)
    return config.dataset


def read(given: Files, split: Split = "train") -> list[Example]:
    return list(given.build().examples(split))


def whole(name: str) -> str:
    """All three splits from one file, when nothing is to be held out."""
    return f"dataset.splits={{train: {name}, val: {name}, test: {name}}}"


def rows(folder: Path, written: list[dict[str, Any]]) -> list[str]:
    """A file of rows, and the overrides that make a dataset of it."""
    write(folder / "rows.jsonl", *(json.dumps(row) for row in written))
    folder_is = f"dataset.folder={folder}"
    return ["~experiment", "dataset=files", "dataset/reader=jsonl", folder_is, whole("rows.jsonl")]


def prepared(given: Files, folder: Path, said: list[str] | None = None) -> Prepared:
    return prepare(given, folder / "prepared", say=(said if said is not None else []).append)


def write(path: Path, *lines: str) -> Path:
    content = "".join(f"{line}\n" for line in lines).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def plain(example: Example) -> tuple[Any, ...]:
    return example.inputs, example.answer
