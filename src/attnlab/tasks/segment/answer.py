"""`Pixels`: an answer that is a class for every pixel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from attnlab.data.answer import Answer, Marks
from attnlab.data.example import Example
from attnlab.data.inputs import Input
from attnlab.data.vocabulary import Vocabulary


@dataclass(frozen=True)
class Pixels(Answer):
    """A class for every pixel; 0 is the background."""

    classes: int
    form = "pixels"
    marks_picture = True

    @classmethod
    def accepts(cls, answer: Any) -> bool:
        return isinstance(answer, np.ndarray) and answer.ndim == 2

    @classmethod
    def fit(
        cls,
        examples: Iterable[Example],
        inputs: Mapping[str, Input],
        vocabulary: Vocabulary | None,
        others: Iterable[Example],
    ) -> Self:
        return cls(int(max(np.asarray(e.answer).max() for e in examples)) + 1)

    @classmethod
    def from_plain(cls, content: dict[str, Any]) -> Self:
        return cls(**content)

    def describe(self) -> dict[str, Any]:
        return asdict(self)

    def encode(self, example: Example) -> Tensor:
        """height x width."""
        return torch.from_numpy(np.array(example.answer, dtype=np.int64))

    def text(self, answer: Any) -> str:
        """Each class that occurs, and how many pixels it has."""
        occurring, counts = np.unique(np.asarray(answer), return_counts=True)
        return " ".join(f"{c}:{n}" for c, n in zip(occurring, counts, strict=True) if c > 0)

    def row_names(self, example: Example, rows: int) -> list[str]:
        return [""] * rows

    def marks(self, answer: npt.NDArray[Any]) -> Marks:
        return Marks(classes=np.asarray(answer), count=self.classes)
