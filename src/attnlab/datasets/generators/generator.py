"""`Generator`: what all embedded datasets share - sizes, seeds, and splits that cannot overlap."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import numpy as np

from attnlab.data.example import SPLITS, Example, Source, Split
from attnlab.errors import UserError

Random: TypeAlias = np.random.Generator
T = TypeVar("T")

TRAIN_SHARE, VAL_SHARE = 80, 10  # percent of all contents; the rest is for testing
MOST_DRAWS = 10_000


def split_of(content: str) -> Split:
    """The one split a content belongs to, whatever the seed: tests never meet what was trained."""
    digest = hashlib.blake2b(content.encode(), digest_size=8).digest()
    percent = int.from_bytes(digest, "big") % 100
    if percent < TRAIN_SHARE:
        return "train"
    return "val" if percent < TRAIN_SHARE + VAL_SHARE else "test"


def drawn_for(split: Split, draw: Callable[[], T], content: Callable[[T], str]) -> T:
    """Draw until the content belongs to the split."""
    for _ in range(MOST_DRAWS):
        drawn = draw()
        if split_of(content(drawn)) == split:
            return drawn
    raise UserError(f"dataset: the settings leave no content for '{split}'; widen their ranges")


@dataclass(frozen=True, kw_only=True)
class Generator(Source):
    """Examples by split and index: each has its own random stream, so any one can be made alone."""

    train: int
    val: int
    test: int
    seed: int

    @abstractmethod
    def make(self, name: str, split: Split, random: Random) -> Example:
        """One example, drawn from `random` alone, of a content that belongs to `split`."""

    def count(self, split: Split) -> int:
        return {"train": self.train, "val": self.val, "test": self.test}[split]

    def example(self, split: Split, index: int) -> Example:
        entropy = [self.seed, SPLITS.index(split), index]
        random = np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))
        return self.make(f"{split}-{index}", split, random)

    def examples(self, split: Split) -> Iterator[Example]:
        for index in range(self.count(split)):
            yield self.example(split, index)


def pick(random: Random, choices: Sequence[T]) -> T:
    """One of the choices, all equally likely."""
    return choices[int(random.integers(len(choices)))]
