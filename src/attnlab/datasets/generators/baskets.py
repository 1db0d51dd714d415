"""Shopping baskets in which the next item has known causes.

A few items, one of each family, together decide what is bought next; everything else in the
basket is chance. An item of a family that comes later replaces an earlier one, which is then a
decoy. Which combination leads to what is fixed by the seed and the same in all splits.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from attnlab.data.example import Example
from attnlab.datasets.generators.generator import Generator, Random, Split, drawn_for
from attnlab.datasets.targets import span_target


@dataclass(frozen=True, kw_only=True)
class Baskets(Generator):
    """Items in, the next item out; the splits share no basket."""

    min_length: int
    max_length: int
    catalogue: int
    causes: int
    variants: int
    decoys: int
    popularity: float

    def make(self, name: str, split: Split, random: Random) -> Example:
        basket, causes = drawn_for(split, lambda: self._basket(random), lambda b: " ".join(b[0]))
        return Example(
            id=name,
            inputs={"items": basket},
            answer=self.next_item([basket[position] for position in causes]),
            target=span_target([[(position, position + 1) for position in causes]], len(basket)),
            attended="items",
            meta={"causes": causes},
        )

    @cached_property
    def outcomes(self) -> np.ndarray:
        """Which plain item follows each combination: one axis of variants for each family."""
        random = np.random.Generator(np.random.PCG64(np.random.SeedSequence([self.seed])))
        return random.integers(self.catalogue, size=(self.variants,) * self.causes)

    @cached_property
    def shares(self) -> np.ndarray:
        """How often each plain item is bought: a power law (Zipf), or all alike at 0."""
        weights = 1.0 / np.arange(1, self.catalogue + 1) ** self.popularity
        return np.cumsum(weights / weights.sum())

    def next_item(self, causes: list[str]) -> str:
        """What follows the deciding items, given in any order."""
        variants = [int(item.partition("-")[2]) for item in sorted(causes)]
        return plain_item(int(self.outcomes[tuple(variants)]))

    def _basket(self, random: Random) -> tuple[list[str], list[int]]:
        """The items, and the places of those that decide what comes next."""
        length = int(random.integers(self.min_length, self.max_length, endpoint=True))
        bought = np.searchsorted(self.shares, random.random(length))
        basket = [plain_item(int(item)) for item in bought]
        room = length - self.causes
        decoys = int(random.integers(0, min(self.decoys, room), endpoint=True))
        positions = np.sort(random.choice(length, self.causes + decoys, replace=False)).tolist()
        # One of each family somewhere, decoys of any family elsewhere; the last of each decides.
        families = [*range(self.causes), *random.integers(self.causes, size=decoys).tolist()]
        last: dict[int, int] = {}
        for position, which in zip(positions, random.permutation(len(families)), strict=True):
            family = families[which]
            basket[position] = family_item(family, int(random.integers(self.variants)))
            last[family] = position
        return basket, sorted(last.values())


def plain_item(number: int) -> str:
    return f"item-{number}"


def family_item(family: int, variant: int) -> str:
    return f"{chr(ord('a') + family)}-{variant}"
