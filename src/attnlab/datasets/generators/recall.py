"""Recall: which value stood beside this key, and what followed it before: `a b . . a b`.

Language models solve the second with an induction head (Olsson et al. 2022), which attends to what
stood behind the earlier key. Which value a key has differs from text to text, so that only the text
itself says it. The first time a value cannot be predicted, nor can keys and fillers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from attnlab.data.example import Example
from attnlab.data.target import AttentionTarget
from attnlab.datasets.generators.generator import Generator, Random, Split, drawn_for
from attnlab.datasets.targets import span_target

QUESTION = "?"


@dataclass(frozen=True, kw_only=True)
class Recall(Generator):
    """Symbols in, one value out; a sequence ends with '?' and the key that is asked for."""

    length: int
    pairs: int
    keys: int
    values: int
    fillers: int

    def make(self, name: str, split: Split, random: Random) -> Example:
        symbols, position = drawn_for(
            split, lambda: self._sequence(random), lambda s: " ".join(s[0])
        )
        return Example(
            id=name,
            inputs={"text": symbols},
            answer=symbols[position],
            target=span_target([[(position, position + 1)]], self.length),
            meta={"key": symbols[-1], "distance": self.length - 1 - position},
        )

    def _sequence(self, random: Random) -> tuple[list[str], int]:
        """The symbols, and the place of the value that is asked for."""
        body = self.length - 2  # the question takes two places
        filling = random.integers(self.fillers, size=body)
        symbols = [f".{number}" for number in filling]
        # Choosing among the places that would be left if each pair took one keeps pairs apart.
        positions = np.sort(random.choice(body - self.pairs, self.pairs, replace=False))
        positions += np.arange(self.pairs)
        keys = random.choice(self.keys, self.pairs, replace=False)
        values = random.integers(self.values, size=self.pairs)
        for position, key, value in zip(positions.tolist(), keys, values, strict=True):
            symbols[position : position + 2] = [f"k{key}", f"v{value}"]
        queried = int(random.integers(self.pairs))
        return [*symbols, QUESTION, f"k{keys[queried]}"], int(positions[queried]) + 1


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
        for position, positions in earlier.items():
            gold[position, positions] = 1
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
            position = len(units) + 1
            units += [f"k{key}", f"v{value_of[key]}"]
            if key in positions:
                earlier[position] = list(positions[key])
            positions.setdefault(key, []).append(position)
        return units, earlier
