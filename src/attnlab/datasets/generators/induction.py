"""Texts in which what followed a key before follows it again: `a b . . a b`.

Language models solve it with an induction head (Olsson et al. 2022), which looks at what stood
behind the earlier key. Which value a key has differs from text to text, so that only the text
itself says it. The first time a value cannot be predicted, nor can keys and fillers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from attnlab.data.example import Example
from attnlab.data.target import AttentionTarget
from attnlab.datasets.generators.generator import Generator, Random, Split, drawn_for


@dataclass(frozen=True, kw_only=True)
class Induction(Generator):
    """A text to be learned as it stands; it has no answer.

    Row t of the gold map is about the prediction of unit t from those before it, and marks every
    earlier place of that value. It is annotated where the key stood before.
    """

    length: int
    pairs: int
    values: int
    fillers: int
    density: float

    def make(self, name: str, split: Split, random: Random) -> Example:
        units, earlier = drawn_for(split, lambda: self._text(random), lambda t: " ".join(t[0]))
        gold = np.zeros((len(units), len(units)), np.float32)  # predicted unit x earlier units
        for place, positions in earlier.items():
            gold[place, positions] = 1
        target = AttentionTarget(gold, np.asarray(gold.any(1)), np.ones(len(units), bool))
        return Example(
            id=name,
            inputs={"text": units},
            answer=None,
            target=target,
            meta={"predictable": list(earlier)},
        )

    def _text(self, random: Random) -> tuple[list[str], dict[int, list[int]]]:
        """The units, and for each value that can be predicted where it stood before."""
        value_of = random.integers(self.values, size=self.pairs)  # in this text
        units: list[str] = []
        positions: dict[int, list[int]] = {}  # of each key's value so far
        earlier: dict[int, list[int]] = {}
        while len(units) < self.length:
            if len(units) + 2 > self.length or random.random() >= self.density:
                units.append(f".{random.integers(self.fillers)}")
                continue
            key = int(random.integers(self.pairs))
            place = len(units) + 1
            units += [f"k{key}", f"v{value_of[key]}"]
            if key in positions:
                earlier[place] = list(positions[key])
            positions.setdefault(key, []).append(place)
        return units, earlier
