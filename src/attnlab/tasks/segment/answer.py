"""`Pixels`: an answer that is a class for every pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from attnlab.data.answer import Answer, Marks, TrainingData
from attnlab.data.example import Example


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
    def fit(cls, data: TrainingData) -> Self:
        return cls(int(max(np.asarray(e.answer).max() for e in data.examples)) + 1)

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
