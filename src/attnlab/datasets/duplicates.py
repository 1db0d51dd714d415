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


@dataclass(frozen=True)
class Content:
    """What examples are compared by."""

    id: str
    split: str
    digest: str  # of all inputs; see `content`
    answer: str
    runs: frozenset[str]  # of words in its texts; none where an input is no text


def contents_of(splits: Mapping[str, Iterable[Example]]) -> list[Content]:
    """Those of all examples, which are read once; training comes last."""
    return [
        Content(example.id, split, content(example), repr(example.answer), _runs(example))
        for split in sorted(splits, key=lambda name: name == "train")
        for example in splits[split]
    ]


def twins(contents: Iterable[Content]) -> list[Twin]:
    """Training examples like an earlier one of training, or like one of another split.

    Texts are compared by their letters and digits alone, pictures and sounds bit by bit.
    """
    first: dict[str, Content] = {}  # by digest
    same = []
    for each in contents:
        other = first.setdefault(each.digest, each)
        if each.split == "train" and other is not each:
            same.append(Twin(each.id, other.id, other.split, each.answer == other.answer))
    return same


@dataclass(frozen=True)
class NearTwin:
    """A training text that shares most of its words, in their order, with another text."""

    id: str
    other: str  # the one most like it
    split: str  # of the other one
    share: float  # of all runs of words in the two that both have


def near_twins(contents: Iterable[Content], least: float = LIKE) -> list[NearTwin]:
    """Training texts that are nearly the same as a held-out one, or as an earlier one of training.

    Two texts are compared by the Jaccard index of their runs of three words. Texts with an index
    of `least` must share one of their rarest runs (prefix filtering, Chaudhuri et al. 2006), so
    that few pairs have to be compared. Texts that are the same are no near twins.
    """
    texts = [each for each in contents if each.runs]
    common = Counter(chain.from_iterable(each.runs for each in texts))
    having: dict[str, list[int]] = {}  # texts by each of their rarest runs
    pairs = []
    for number, text in enumerate(texts):
        rarest = sorted(text.runs, key=lambda run: (common[run], run))
        rarest = rarest[: len(text.runs) - math.ceil(least * len(text.runs)) + 1]
        if text.split == "train":
            candidates = sorted({other for run in rarest for other in having.get(run, ())})
            shares = {other: _share(text.runs, texts[other].runs) for other in candidates}
            near = {other: share for other, share in shares.items() if least <= share < 1}
            if near:
                closest = max(near, key=near.__getitem__)  # the first of several
                pairs.append(
                    NearTwin(text.id, texts[closest].id, texts[closest].split, near[closest])
                )
        for run in rarest:
            having.setdefault(run, []).append(number)
    return pairs


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
