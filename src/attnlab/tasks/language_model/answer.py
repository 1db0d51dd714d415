"""`NextUnits`: an answer that is the text itself, each unit predicted from those before it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

import torch
from torch import Tensor

from attnlab.data.example import Example, named
from attnlab.data.groups import Groups
from attnlab.data.vocabulary import Vocabulary
from attnlab.tasks.generate.answer import Units


@dataclass(frozen=True, kw_only=True)
class NextUnits(Units):
    """The units of an input, without an end mark; row t of a map is about predicting unit t."""

    source: str  # the name of the input

    def encode(self, example: Example) -> Tensor:
        """length."""
        return torch.tensor(self.vocabulary.encode(example.inputs[self.source]))  # type: ignore[arg-type]

    def row_names(self, example: Example, rows: int) -> list[str]:
        return named(example.inputs[self.source])

    def respelled(self, vocabulary: Vocabulary) -> NextUnits:
        return replace(self, vocabulary=vocabulary)

    def resampled(self, random: Random) -> NextUnits:
        return replace(self, vocabulary=self.vocabulary.varied(random))

    def word_groups(self, example: Example) -> Groups:
        return self.vocabulary.groups(example.inputs[self.source])  # type: ignore[arg-type]
