"""Small models and batches for the tests of this folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import nn

from attnlab.config.compose import checked, compose, config_dir, load, resolve
from attnlab.config.schema import Config
from attnlab.data.batch import Batch, collate
from attnlab.data.codec import Codec
from attnlab.data.example import Example
from attnlab.stages.prepare import layout_of
from attnlab.tasks.task import build_model
from tests.attention.mechanisms import plain as plain_mechanism
from tests.forms import fitted

SMALL = [
    "~experiment",
    "model.dim=16",
    "model.dropout=0",
    "model.audio.channels=[8,8]",
    "logger=files",
]
SIZE = 22  # of pictures; no multiple of four: the last cells are cut off by the edge
WORDS = ["a", "b", "c", "d", "e", "f", "g"]


def mechanisms() -> list[str]:
    """The names of all mechanisms."""
    return sorted(path.stem for path in (config_dir() / "attention").glob("*.yaml"))


# Datasets whose answers are of the form that a task learns.
DATASETS = {
    "classify": ["dataset=reviews"],
    "rank": ["dataset=baskets"],
    "extract": ["dataset=files", "dataset/answer=mark"],
    "tag": ["dataset=files", "dataset/answer=tags"],
    "attend": ["dataset=canvas", "dataset.task_view=attend"],
    "locate": ["dataset=canvas", "dataset.task_view=locate"],
    "segment": ["dataset=canvas", "dataset.task_view=segment"],
}


@cache
def small_config(*overrides: str) -> Config:
    config, _ = load([*SMALL, *_dataset(overrides), *overrides])
    return config


def _dataset(overrides: Sequence[str]) -> list[str]:
    """What a dataset is chosen by, where the overrides name a task and no dataset."""
    if any(override.startswith("dataset=") for override in overrides):
        return []
    tasks = [each.removeprefix("task=") for each in overrides if each.startswith("task=")]
    return DATASETS.get(tasks[-1], []) if tasks else []


def with_mechanism(name: str, *overrides: str) -> Config:
    """The same with another mechanism, without composing all the rest anew."""
    return checked(_plain(*overrides) | {"attention": plain_mechanism(name)})


@cache
def _plain(*overrides: str) -> dict[str, Any]:
    return resolve(compose([*SMALL, *_dataset(overrides), *overrides]))


def text_example(name: str, length: int, answer: object, random: np.random.Generator) -> Example:
    return Example(name, {"text": random.choice(WORDS, length).tolist()}, answer)  # type: ignore[arg-type]


def texts(answer_lengths: list[int], input_lengths: list[int]) -> list[Example]:
    """Texts to be answered with texts."""
    random = np.random.default_rng(0)
    return [
        text_example(str(i), n, random.choice(WORDS, m).tolist(), random)
        for i, (m, n) in enumerate(zip(answer_lengths, input_lengths, strict=True))
    ]


def pictures(answers: list[object], inputs: dict | None = None) -> list[Example]:
    random = np.random.default_rng(0)
    return [
        Example(
            str(i),
            {"image": random.random((1, SIZE, SIZE), np.float32), **(inputs or {})},
            answer,  # type: ignore[arg-type]
            attended="image",
        )
        for i, answer in enumerate(answers)
    ]


def sounds(lengths: list[int]) -> list[Example]:
    """Noise of so many samples, to be written down."""
    random = np.random.default_rng(0)
    return [
        Example(
            str(i),
            {"audio": random.standard_normal(length).astype(np.float32)},
            ["1", "2"],
            attended="audio",
            meta={"sample_rate": 4000, "hop": 80},
        )
        for i, length in enumerate(lengths)
    ]


def asked_about() -> list[Example]:
    """Pictures with questions of different lengths."""
    words = [["which", "one", "?"], ["which", "other", "one", "?"]]
    pairs = zip(pictures(["1", "2"]), words, strict=True)
    return [replace(e, inputs=e.inputs | {"question": w}) for e, w in pairs]


def built(
    config: Config, examples: list[Example], codec: Codec | None = None
) -> tuple[nn.Module, Batch, Codec]:
    """A model for the examples with random weights, the examples as a batch, their codec."""
    torch.manual_seed(0)
    codec = (codec or fitted(examples)).with_layout(layout_of(config))
    codec = replace(codec, answers=config.task.adapt_answers(codec.answers, codec.inputs))
    batch = collate([codec.encode(example, i) for i, example in enumerate(examples)])
    return build_model(config, codec).eval(), batch, codec
