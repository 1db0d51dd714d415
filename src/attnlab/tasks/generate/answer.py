"""`Units`: an answer that is a sequence of units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Self

import torch
from torch import Tensor

from attnlab.data.answer import TrainingData, UnitAnswer
from attnlab.data.example import Example, named
from attnlab.data.groups import Groups
from attnlab.data.vocabulary import EOS, Vocabulary, units_of


@dataclass(frozen=True)
class Units(UnitAnswer):
    """A text to be written, or one tag for each unit of the input."""

    form = "units"

    @classmethod
    def accepts(cls, answer: Any) -> bool:
        return isinstance(answer, list) and all(isinstance(unit, str) for unit in answer)

    @classmethod
    def fit(cls, data: TrainingData) -> Self:
        """The units of the training answers, then those that only other splits have."""
        vocabulary = data.vocabulary
        if vocabulary is None:
            known = units_of(e.answer for e in data.examples)  # type: ignore[misc]
            in_training = set(known)
            new = units_of(e.answer for e in data.others)  # type: ignore[misc]
            vocabulary = Vocabulary([*known, *(unit for unit in new if unit not in in_training)])
        return cls(vocabulary)

    def encode(self, example: Example) -> Tensor:
        """length, the end mark included."""
        return self.spell(example.answer)  # type: ignore[arg-type]

    def spell(self, words: Sequence[str]) -> Tensor:
        """Words as numbers of units: length, the end mark included."""
        return torch.tensor([*self.vocabulary.encode(words), EOS])

    def rows(self, answer: Tensor) -> int:
        return len(answer)

    def text(self, answer: Sequence[int]) -> str:
        return self.vocabulary.joint.join(self.vocabulary.decode(answer))

    def annotation(self, text: str, words: Sequence[str]) -> list[str]:
        return list(words)

    def decisions(self, answer: Sequence[int]) -> list[str]:
        return [self.vocabulary.units[number] for number in answer]

    def row_names(self, example: Example, rows: int) -> list[str]:
        return named(example.answer)

    def respelled(self, vocabulary: Vocabulary) -> Units:
        return Units(vocabulary)

    def resampled(self, random: Random) -> Units:
        return Units(self.vocabulary.varied(random))

    def word_groups(self, example: Example) -> Groups:
        return self.vocabulary.groups(example.answer)  # type: ignore[arg-type]
