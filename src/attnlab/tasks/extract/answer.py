"""`Position`: an answer that is one of the attended units."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from attnlab.data.answer import Answer
from attnlab.data.example import Example, named
from attnlab.data.inputs import Input
from attnlab.data.vocabulary import Vocabulary


@dataclass(frozen=True)
class Position(Answer):
    """One of the attended units, by its number."""

    form = "position"

    @classmethod
    def accepts(cls, answer: Any) -> bool:
        return type(answer) is int

    @classmethod
    def fit(
        cls,
        examples: Iterable[Example],
        inputs: Mapping[str, Input],
        vocabulary: Vocabulary | None,
        others: Iterable[Example],
    ) -> Self:
        return cls()

    @classmethod
    def from_plain(cls, content: dict[str, Any]) -> Self:
        return cls()

    def describe(self) -> dict[str, Any]:
        return {}

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
