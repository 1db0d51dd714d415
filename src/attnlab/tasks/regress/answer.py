"""`Numbers`: an answer that is one number, or several."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from attnlab.data.answer import Answer, TrainingData
from attnlab.data.example import Example


@dataclass(frozen=True)
class Numbers(Answer):
    """So many numbers, with their mean and spread in the training data."""

    means: list[float]
    spreads: list[float]  # standard deviations; 1 where all training answers are equal
    form = "numbers"

    @classmethod
    def accepts(cls, answer: Any) -> bool:
        numbers = answer if isinstance(answer, list) else [answer]
        real = (isinstance(n, float | int) and math.isfinite(n) for n in numbers)
        return bool(numbers) and all(real)

    @classmethod
    def fit(cls, data: TrainingData) -> Self:
        answers = np.array([numbers_of(example) for example in data.examples], np.float64)
        spreads = np.where(answers.std(0) > 0, answers.std(0), 1.0)
        return cls(answers.mean(0).tolist(), spreads.tolist())

    def encode(self, example: Example) -> Tensor:
        """numbers."""
        return torch.tensor(numbers_of(example), dtype=torch.float32)

    def text(self, answer: Sequence[float]) -> str:
        return " ".join(f"{number:.4g}" for number in answer)

    def annotation(self, text: str, words: Sequence[str]) -> float | list[float]:
        numbers = [float(number) for number in text.split()]
        return numbers[0] if len(numbers) == 1 else numbers

    def __len__(self) -> int:
        return len(self.means)

    def standardize(self, numbers: Tensor) -> Tensor:
        """... x numbers in standard deviations from the mean of the training answers."""
        return (numbers - numbers.new_tensor(self.means)) / numbers.new_tensor(self.spreads)

    def restore(self, numbers: Tensor) -> Tensor:
        """Standardised numbers, ... x numbers, in the units of the data."""
        return numbers * numbers.new_tensor(self.spreads) + numbers.new_tensor(self.means)

    def rows(self, answer: Tensor) -> int:
        return len(self)

    def decisions(self, answer: Sequence[float]) -> list[str]:
        return [f"{number:.4g}" for number in answer]

    def row_names(self, example: Example, rows: int) -> list[str]:
        return self.decisions(numbers_of(example))


def numbers_of(example: Example) -> list[float]:
    """The answer as a list, also where it is one number."""
    answer: Any = example.answer
    return [float(n) for n in answer] if isinstance(answer, list) else [float(answer)]
