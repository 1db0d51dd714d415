"""`Boxes`: an answer that is a set of boxes in a picture, with their classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from attnlab.data.answer import Answer, Marks, TrainingData
from attnlab.data.example import Example

# Confidence from which a box counts as predicted, and from which it is evaluated and shown at all.
CONFIDENT, SHOWN = 0.5, 0.01


@dataclass(frozen=True)
class Boxes(Answer):
    """Boxes with their classes; a prediction adds how confident it is of each."""

    slots: int  # most boxes that a training example has
    classes: int
    form = "boxes"
    marks_picture = True

    @classmethod
    def accepts(cls, answer: Any) -> bool:
        return isinstance(answer, np.ndarray) and answer.ndim == 2 and answer.shape[1] == 5

    @classmethod
    def fit(cls, data: TrainingData) -> Self:
        answers = [np.asarray(e.answer) for e in data.examples]
        classes = max((int(a[:, 4].max()) for a in answers if len(a)), default=0) + 1
        return cls(max(len(a) for a in answers), classes)

    def encode(self, example: Example) -> Tensor:
        """boxes x 5: left, top, right, bottom, class."""
        return torch.from_numpy(np.array(example.answer, dtype=np.float32).reshape(-1, 5))

    def rows(self, answer: Tensor) -> int:
        return self.slots

    def text(self, answer: Sequence[Sequence[float]]) -> str:
        """Class at the box's left top corner, to whole pixels, in reading order; confident ones."""
        boxes = [box for box in answer if len(box) == 5 or box[5] >= CONFIDENT]
        corners = [(round(box[1]), round(box[0]), int(box[4])) for box in boxes]
        return " ".join(f"{kind}@{left},{top}" for top, left, kind in sorted(corners))

    def row_names(self, example: Example, rows: int) -> list[str]:
        return [str(int(box[4])) for box in np.asarray(example.answer)]

    def marks(self, answer: npt.NDArray[Any]) -> Marks:
        rows = [row for row in answer if len(row) == 5 or row[5] >= SHOWN]
        return Marks(boxes=np.asarray(rows, np.float64), count=self.classes)
