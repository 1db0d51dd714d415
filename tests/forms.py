"""Codecs of examples that no dataset declares the form of."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from attnlab.config.compose import compose, load, resolve
from attnlab.config.dataset import Dataset
from attnlab.config.schema import Config
from attnlab.data.codec import Codec
from attnlab.data.example import Example
from attnlab.data.vocabulary import Vocabulary
from attnlab.errors import ConfigError


def fitted(
    examples: Sequence[Example], vocabularies: Mapping[str, Vocabulary] | None = None
) -> Codec:
    """The codec of examples, whose form of answer shows in their Python type."""
    return Codec.fit(examples, form_of(examples[0]), vocabularies)


def form_of(example: Example) -> str:
    """The form that a dataset of such examples declares."""
    answer = example.answer
    if isinstance(answer, np.ndarray):
        return "boxes" if answer.ndim == 2 and answer.shape[1] == 5 else "pixels"
    if isinstance(answer, str):
        return "item" if "items" in example.inputs else "label"
    return {type(None): "nothing", list: "units", int: "position"}[type(answer)]


@cache
def dataset_of(*overrides: str) -> Dataset:
    """The dataset of a config, whatever its task."""
    return Dataset.model_validate(resolve(compose(list(overrides)))["dataset"])


def load_fitting(overrides: Sequence[str]) -> tuple[Config, dict[str, Any]]:
    """What `load` makes of overrides, with a task that learns the answers of their dataset."""
    try:
        return load(overrides)
    except ConfigError as error:
        suitable = re.search(r"task\.kind: .* did you mean '(\w+)", str(error))
        if suitable is None:
            raise
        return load([f"task={suitable[1]}", *overrides])
