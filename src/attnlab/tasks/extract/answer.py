"""`Position`: an answer that is one of the attended units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from attnlab.data.answer import Answer, TrainingData
from attnlab.data.example import Example, named


@dataclass(frozen=True)
class Position(Answer):
    """One of the attended units, by its number."""

    form = "position"

    @classmethod
    def accepts(cls, answer: Any) -> bool:
        return type(answer) is int

    @classmethod
    def fit(cls, data: TrainingData) -> Self:
        return cls()

    def encode(self, example: Example) -> Tensor:
        """1."""
        return torch.tensor([example.answer])

    def text(self, answer: Sequence[int]) -> str:
        return f"number {answer[0] + 1}"

    def row_names(self, example: Example, rows: int) -> list[str]:
        return [""] * rows

    def gold_text(self, example: Example, keys: Sequence[str]) -> str:
        return keys[example.answer]  # type: ignore[index]

    def choices(self, example: Example) -> Sequence[str]:
        return named(example.inputs[example.attended])
