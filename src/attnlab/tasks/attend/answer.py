"""`MapOnly`: no answer besides the map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from attnlab.data.answer import Answer, TrainingData
from attnlab.data.example import Example


@dataclass(frozen=True)
class MapOnly(Answer):
    """No answer besides the map, which has so many rows."""

    map_rows: int
    form = "nothing"

    @classmethod
    def accepts(cls, answer: Any) -> bool:
        return answer is None

    @classmethod
    def fit(cls, data: TrainingData) -> Self:
        targets = (e.target for e in data.examples if e.target is not None)
        return cls(max((len(target.query_mask) for target in targets), default=1))

    def encode(self, example: Example) -> Tensor:
        """One number for each row of the map, without meaning."""
        return torch.zeros(self.map_rows)

    def rows(self, answer: Tensor) -> int:
        return len(answer)

    def text(self, answer: Any) -> str:
        return ""

    def row_names(self, example: Example, rows: int) -> list[str]:
        return [""] * rows

    def gold_text(self, example: Example, keys: Sequence[str]) -> str:
        return ""
