"""`Item`: an answer that is one of the items that the input `items` is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from attnlab.data.answer import TrainingData, UnitAnswer
from attnlab.data.example import Example
from attnlab.data.inputs import Text
from attnlab.data.vocabulary import Vocabulary
from attnlab.errors import UserError


@dataclass(frozen=True)
class Item(UnitAnswer):
    """One of the items, those of the histories and those that only answers have."""

    form = "item"

    @classmethod
    def accepts(cls, answer: Any) -> bool:
        return isinstance(answer, str)

    @classmethod
    def fit(cls, data: TrainingData) -> Self:
        items = data.inputs.get("items")
        if not isinstance(items, Text):
            raise UserError("dataset.answer: an item needs an input named 'items'")
        known = items.vocabulary.units
        answers = sorted({str(e.answer) for split in (data.examples, data.others) for e in split})
        return cls(Vocabulary([*known, *(a for a in answers if a not in set(known))]))

    def encode(self, example: Example) -> Tensor:
        """1."""
        return torch.tensor(self.vocabulary.encode([str(example.answer)]))

    def text(self, answer: Sequence[int]) -> str:
        return self.vocabulary.units[answer[0]]
