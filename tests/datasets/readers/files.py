"""Small files as users have them, and the dataset that reads them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from pydantic import ValidationError

from attnlab.config.compose import COMPOSITION_ERRORS, config_dir, resolve
from attnlab.config.dataset import Dataset
from attnlab.data.example import Example, Split
from attnlab.data.prepared import Prepared, prepare
from attnlab.datasets.readers.config import Files
from attnlab.errors import ConfigError
from tests.commands import REPOSITORY
from tests.forms import load_fitting

SHARED = REPOSITORY.parent / "shared" / "data"


def shared(folder: str) -> Path:
    """A folder of real data; the test is skipped where it is not there."""
    if not (SHARED / folder).is_dir():
        pytest.skip(f"no real data in {SHARED / folder}")
    return SHARED


def dataset(folder: Path, *overrides: str) -> Files:
    """`conf/dataset/files.yaml` over a folder, with its own settings and no recipe's.

    Composed alone, which takes an eighth of the time that a whole config takes; where that fails,
    the whole config says why.
    """
    words = [f"dataset.folder={folder}", *overrides]
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            composed = hydra_compose("dataset/files", ["+seed=0", "+paths.data=data", *words])
        found = Dataset.model_validate(resolve(composed)["dataset"])
    except (*COMPOSITION_ERRORS, ConfigError, ValidationError):
        found = load_fitting(["dataset=files", "model=recurrent", *words])[0].dataset
    assert isinstance(found, Files)
    return found


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
