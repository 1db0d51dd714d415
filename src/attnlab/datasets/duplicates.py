"""Examples that are the same within a split, or in several: what a test split must not share."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from attnlab.data.example import Example

NO_WORD = re.compile(r"\W+")


@dataclass(frozen=True)
class Twin:
    """A training example whose inputs equal those of another example."""

    id: str
    other: str  # the first example like it
    split: str  # of the other one
    same_answer: bool


def twins(splits: Mapping[str, Iterable[Example]]) -> list[Twin]:
    """Training examples like an earlier one of training, or like one of another split.

    Texts are compared by their letters and digits alone, pictures and sounds bit by bit.
    """
    first: dict[str, tuple[str, str, str]] = {}  # by content: id, split, answer
    for split, examples in splits.items():
        for example in examples if split != "train" else ():
            first.setdefault(content(example), (example.id, split, repr(example.answer)))
    found = []
    for example in splits["train"]:
        key, answer = content(example), repr(example.answer)
        if key in first:
            other, split, its_answer = first[key]
            found.append(Twin(example.id, other, split, answer == its_answer))
        else:
            first[key] = example.id, "train", answer
    return found


def content(example: Example) -> str:
    """The same for examples with the same inputs."""
    digest = hashlib.sha256()
    for name in sorted(example.inputs):
        digest.update(f"{name}:".encode())
        digest.update(_bytes(example.inputs[name]))
    return digest.hexdigest()


def _bytes(value: Any) -> bytes:
    if isinstance(value, np.ndarray):
        return f"{value.shape}".encode() + np.ascontiguousarray(value).tobytes()
    words = " ".join(map(str, value)) if isinstance(value, list) else str(value)
    bare = NO_WORD.sub(" ", words.lower()).strip()
    return (bare or words).encode()
