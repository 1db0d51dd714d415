"""Forms of answer: units, one label, an item, boxes, a class for each pixel, or the map itself.

Each turns an answer into a tensor and what a model says into words again, and says how many
queries a gold map of such an answer has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from attnlab.data.example import Example
from attnlab.data.inputs import Input, Text
from attnlab.data.tokenizers import vocabulary_of
from attnlab.data.vocabulary import EOS, Vocabulary, units_of
from attnlab.errors import UserError, suggest

# Likelihoods of a box from which it counts as said, and as worth being judged and shown at all.
SURE, WORTH_A_WORD = 0.5, 0.01


class Answer(Protocol):
    """What was found of the answers."""

    form: str

    def encode(self, example: Example) -> Tensor: ...

    def queries(self, answer: Tensor) -> int:
        """How many rows the gold map of an encoded answer has."""
        ...

    def text(self, answer: Any) -> str:
        """An encoded answer, as nested lists, in one line for people."""
        ...

    def describe(self) -> dict[str, Any]:
        """As plain values, from which `answer_of` makes it again."""
        ...


@dataclass(frozen=True)
class Units:
    """A sequence of units: text to be written, or one tag for each unit of the input."""

    vocabulary: Vocabulary
    form = "units"

    def encode(self, example: Example) -> Tensor:
        """length, the end mark included."""
        return self.spell(example.answer)  # type: ignore[arg-type]

    def spell(self, words: Sequence[str]) -> Tensor:
        return torch.tensor([*self.vocabulary.encode(words), EOS])

    def queries(self, answer: Tensor) -> int:
        return len(answer)

    def text(self, answer: Sequence[int]) -> str:
        return self.vocabulary.joint.join(self.vocabulary.decode(answer))

    def describe(self) -> dict[str, Any]:
        return self.vocabulary.describe()


@dataclass(frozen=True)
class Label:
    """One of the labels that occur; some may be learned apart and said as one, or never said."""

    labels: list[str]
    counts_as: Mapping[str, str | None] = field(default_factory=dict)
    form = "label"

    def encode(self, example: Example) -> Tensor:
        """1."""
        label = str(example.answer)
        if label not in self.labels:
            raise UserError(f"example {example.id}: label '{label}' does not occur in the data")
        return torch.tensor([self.labels.index(label)])

    def queries(self, answer: Tensor) -> int:
        return 1

    def text(self, answer: Sequence[int]) -> str:
        """As it is said; one that never is has its own name."""
        said = self.said_as[answer[0]]
        return self.labels[answer[0] if said is None else said]

    def describe(self) -> dict[str, Any]:
        return {"labels": self.labels}

    def counting(self, counts_as: Mapping[str, str | None]) -> Label:
        """The same labels, said in this way."""
        for name in (*counts_as, *counts_as.values()):
            if name is not None and name not in self.labels:
                hint = suggest(name, self.labels)
                raise UserError(f"task.counts_as: the data have no label '{name}'; {hint}")
        for name, said in counts_as.items():
            if said is not None and counts_as.get(said, said) != said:
                raise UserError(
                    f"task.counts_as.{name}: '{said}' is not said itself; "
                    f"try: task.counts_as.{name}={counts_as[said] or 'null'}"
                )
        return replace(self, counts_as=counts_as)

    @cached_property
    def said_as(self) -> list[int | None]:
        """For each label the number of the one that is said in its place."""
        said = (self.counts_as.get(label, label) for label in self.labels)
        return [None if label is None else self.labels.index(label) for label in said]

    @property
    def said_by(self) -> dict[int, list[int]]:
        """For each label that is said the numbers of those that it stands for."""
        stands: dict[int, list[int]] = {}
        for number, said in enumerate(self.said_as):
            if said is not None:
                stands.setdefault(said, []).append(number)
        return stands


@dataclass(frozen=True)
class ItemAnswer:
    """One of the items that the input `items` is made of, the likeliest first."""

    vocabulary: Vocabulary
    form = "item"

    def encode(self, example: Example) -> Tensor:
        """1."""
        return torch.tensor(self.vocabulary.encode([str(example.answer)]))

    def queries(self, answer: Tensor) -> int:
        return 1

    def text(self, answer: Sequence[int]) -> str:
        return self.vocabulary.units[answer[0]]

    def describe(self) -> dict[str, Any]:
        return {"units": self.vocabulary.units}


@dataclass(frozen=True)
class Place:
    """One of the units that are looked at, by its number."""

    form = "place"

    def encode(self, example: Example) -> Tensor:
        """1."""
        return torch.tensor([example.answer])

    def queries(self, answer: Tensor) -> int:
        return 1

    def text(self, answer: Sequence[int]) -> str:
        return f"number {answer[0] + 1}"

    def describe(self) -> dict[str, Any]:
        return {}


@dataclass(frozen=True)
class Boxes:
    """Boxes with their classes, and how likely each is if a model says them."""

    slots: int  # most boxes that a training example has
    classes: int
    form = "boxes"

    def encode(self, example: Example) -> Tensor:
        """boxes x 5: left, top, right, bottom, class."""
        return torch.from_numpy(np.array(example.answer, dtype=np.float32).reshape(-1, 5))

    def queries(self, answer: Tensor) -> int:
        return self.slots

    def text(self, answer: Sequence[Sequence[float]]) -> str:
        """Class at the box's left top corner, to whole pixels, in reading order; the sure ones."""
        sure = [box for box in answer if len(box) == 5 or box[5] >= SURE]
        places = [(round(box[1]), round(box[0]), int(box[4])) for box in sure]
        return " ".join(f"{kind}@{left},{top}" for top, left, kind in sorted(places))

    def describe(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Pixels:
    """A class for every pixel; 0 is the background."""

    classes: int
    form = "pixels"

    def encode(self, example: Example) -> Tensor:
        """height x width."""
        return torch.from_numpy(np.array(example.answer, dtype=np.int64))

    def queries(self, answer: Tensor) -> int:
        return 1

    def text(self, answer: Any) -> str:
        """Each class that is seen, and how many pixels it has."""
        seen, counts = np.unique(np.asarray(answer), return_counts=True)
        return " ".join(f"{c}:{n}" for c, n in zip(seen, counts, strict=True) if c > 0)

    def describe(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Nothing:
    """No answer besides the map itself."""

    rows: int
    form = "nothing"

    def encode(self, example: Example) -> Tensor:
        """One place for each row of the map."""
        return torch.zeros(self.rows)

    def queries(self, answer: Tensor) -> int:
        return len(answer)

    def text(self, answer: Any) -> str:
        return ""

    def describe(self) -> dict[str, Any]:
        return asdict(self)


def fit_answer(
    examples: Iterable[Example],
    inputs: dict[str, Input],
    vocabulary: Vocabulary | None = None,
    others: Iterable[Example] = (),
) -> Answer:
    """The form of the training examples' answers, and what occurs in them.

    A label or tag that only other splits have is a choice too: never learned, it is counted as the
    error that it is. The examples are gone through more than once.
    """
    first = next(iter(examples)).answer
    if first is None:
        targets = (e.target for e in examples if e.target is not None)
        return Nothing(max((len(target.query_mask) for target in targets), default=1))
    if isinstance(first, list):
        return Units(vocabulary or _units(examples, others))
    if isinstance(first, int):
        return Place()
    if isinstance(first, np.ndarray):
        return _fit_array(first, [np.asarray(e.answer) for e in examples])
    answers = sorted({str(e.answer) for each in (examples, others) for e in each})
    items = inputs.get("items")
    if isinstance(items, Text):
        known = items.vocabulary.units
        return ItemAnswer(Vocabulary([*known, *(a for a in answers if a not in set(known))]))
    return Label(answers)


def _units(examples: Iterable[Example], others: Iterable[Example]) -> Vocabulary:
    """The units of the training answers, then those that only others have."""
    known = units_of(e.answer for e in examples)  # type: ignore[misc]
    seen = set(known)
    new = units_of(e.answer for e in others)  # type: ignore[misc]
    return Vocabulary([*known, *(unit for unit in new if unit not in seen)])


def _fit_array(first: np.ndarray, answers: Sequence[np.ndarray]) -> Answer:
    if first.ndim == 2 and first.shape[1] == 5:
        classes = max((int(a[:, 4].max()) for a in answers if len(a)), default=0) + 1
        return Boxes(max(len(a) for a in answers), classes)
    return Pixels(int(max(a.max() for a in answers)) + 1)


def answer_of(form: str, content: dict[str, Any]) -> Answer:
    """The answer that `describe` wrote down."""
    if form in ("units", "item"):
        vocabulary = vocabulary_of(content)
        return Units(vocabulary) if form == "units" else ItemAnswer(vocabulary)
    forms = {
        "label": Label,
        "place": Place,
        "boxes": Boxes,
        "pixels": Pixels,
        "nothing": Nothing,
    }
    return forms[form](**content)
