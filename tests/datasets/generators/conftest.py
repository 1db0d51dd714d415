"""Generators as the shipped YAML sets them up, and what must hold for every one of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from attnlab.config.dataset import Dataset
from attnlab.datasets.generators.generator import Generator

CONF = Path(__file__).parents[3] / "conf" / "dataset"

MakeGenerator = Callable[..., Generator]


def dataset_of(name: str, **changes: Any) -> Dataset:
    """`conf/dataset/<name>.yaml` with some settings changed."""
    base, own = (
        yaml.safe_load((CONF / f"{each}.yaml").read_text(encoding="utf-8"))
        for each in ("base", name)
    )
    del own["defaults"]
    return Dataset.model_validate(base | own | changes)


def make_generator(name: str, **changes: Any) -> Generator:
    """The generator of `conf/dataset/<name>.yaml` with some settings changed."""
    return dataset_of(name, **changes).build()


@pytest.fixture(scope="session")
def generator() -> MakeGenerator:
    return make_generator
