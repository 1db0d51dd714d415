"""Key-value recall: which value stood beside this key, somewhere in a long sequence?

The associative recall of Ba et al. 2016 and Arora et al. 2023, with the distance as a knob. Only a
mechanism that can reach back, and tell many keys apart, solves it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from attnlab.data.example import Example
from attnlab.datasets.generators.generator import Generator, Random, Split, drawn_for
from attnlab.datasets.targets.spans import span_target

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
        symbols, place = drawn_for(split, lambda: self._sequence(random), lambda s: " ".join(s[0]))
        return Example(
            id=name,
            inputs={"text": symbols},
            answer=symbols[place],
            target=span_target([[(place, place + 1)]], self.length),
            meta={"key": symbols[-1], "distance": self.length - 1 - place},
        )

    def _sequence(self, random: Random) -> tuple[list[str], int]:
        """The symbols, and the place of the value that is asked for."""
        body = self.length - 2  # the question takes two places
        filling = random.integers(self.fillers, size=body)
        symbols = [f".{number}" for number in filling]
        # Choosing among the places that would be left if each pair took one keeps pairs apart.
        places = np.sort(random.choice(body - self.pairs, self.pairs, replace=False))
        places += np.arange(self.pairs)
        keys = random.choice(self.keys, self.pairs, replace=False)
        values = random.integers(self.values, size=self.pairs)
        for place, key, value in zip(places.tolist(), keys, values, strict=True):
            symbols[place : place + 2] = [f"k{key}", f"v{value}"]
        asked = int(random.integers(self.pairs))
        return [*symbols, QUESTION, f"k{keys[asked]}"], int(places[asked]) + 1
