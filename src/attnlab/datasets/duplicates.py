"""Examples that are the same, or nearly: what splits must not share, and what repeats itself."""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from attnlab.data.example import Example

NO_WORD = re.compile(r"\W+")
RUN = 3  # words of the runs by which texts are compared
LIKE = 0.8  # share of all runs of two texts that both have, from which they are nearly the same


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


@dataclass(frozen=True)
class NearTwin:
    """A training text that shares most of its words, in their order, with another text."""

    id: str
    other: str  # the one most like it
    split: str  # of the other one
    share: float  # of all runs of words in the two that both have


def near_twins(splits: Mapping[str, Iterable[Example]], least: float = LIKE) -> list[NearTwin]:
    """Training texts that are nearly the same as a held-out one, or as an earlier one of training.

    Two texts are compared by the Jaccard index of their runs of three words. Texts with an index
    of `least` must share one of their rarest runs (prefix filtering, Chaudhuri et al. 2006), so
    that few pairs have to be compared. Texts that are the same are no near twins.
    """
    texts = [
        (example.id, split, runs)
        for split in sorted(splits, key=lambda name: name == "train")  # training comes last
        for example in splits[split]
        if (runs := _runs(example))
    ]
    common = Counter(chain.from_iterable(runs for *_, runs in texts))
    having: dict[str, list[int]] = {}  # texts by each of their rarest runs
    found = []
    for number, (name, split, runs) in enumerate(texts):
        rarest = sorted(runs, key=lambda run: (common[run], run))
        rarest = rarest[: len(runs) - math.ceil(least * len(runs)) + 1]
        if split == "train":
            candidates = sorted({other for run in rarest for other in having.get(run, ())})
            shares = {other: _share(runs, texts[other][2]) for other in candidates}
            near = {other: share for other, share in shares.items() if least <= share < 1}
            if near:
                closest = max(near, key=near.__getitem__)  # the first of several
                found.append(NearTwin(name, *texts[closest][:2], near[closest]))
        for run in rarest:
            having.setdefault(run, []).append(number)
    return found


def _share(one: frozenset[str], other: frozenset[str]) -> float:
    both = len(one & other)
    return both / (len(one) + len(other) - both)


def _runs(example: Example) -> frozenset[str]:
    """Runs of words in the texts of an example; none where an input is no text."""
    return frozenset(chain.from_iterable(map(_runs_of, example.inputs.values())))


def _runs_of(value: Any) -> Iterator[str]:
    if not isinstance(value, list):
        return
    words = _bare(value).split()
    for start in range(max(1, len(words) - RUN + 1)):
        yield " ".join(words[start : start + RUN])


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
    return (_bare(value) or _joined(value)).encode()


def _bare(value: Any) -> str:
    """The letters and digits of a text, small, with a space between words."""
    return NO_WORD.sub(" ", _joined(value).lower()).strip()


def _joined(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
