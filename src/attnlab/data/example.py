"""`Example`: one thing to learn from, before tokenization; `Source`: where examples come from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from attnlab.data.target import AttentionTarget
from attnlab.data.vocabulary import Vocabulary

Text: TypeAlias = list[str]  # units: characters, words or items, as the dataset splits them
# image: channels x height x width, from 0 to 1, or bytes; audio: samples
Array: TypeAlias = npt.NDArray[np.float32] | npt.NDArray[np.uint8]
Sentences: TypeAlias = list[list[str]]  # each of them units, and attended to as one
Value: TypeAlias = Text | Sentences | Array | str | int | float | list[float] | None

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
ANSWER = "answer"  # the name of the answer's vocabulary beside those of the inputs


def words_of(value: Any) -> Text:
    """The units of a text, also of one in sentences."""
    if value and isinstance(value[0], list):
        return [word for sentence in value for word in sentence]
    return value


def named(value: Any) -> Text:
    """What is attended to in a text, for people: its units, or whole sentences."""
    return [" ".join(unit) if isinstance(unit, list) else str(unit) for unit in value]


def absent(example: Example) -> list[str]:
    """The inputs that an example lacks."""
    return [name for name, value in example.inputs.items() if value is None]


@dataclass(frozen=True)
class Example:
    """Inputs by name, the answer, and where to look for it.

    `inputs` are named by what they are: `text`, `image`, `audio`, `question`, `items`; one that is
    missing is None.
    The dataset declares the form of all answers (`Dataset.answer_form`): units (a text, or a tag
    for each unit), a label, an item, the number of a unit of the input, boxes n x 5 with the class
    last, a class for each pixel, numbers (one, or a list), or nothing: where the map itself is
    asked for, or where a text is learned as it stands.
    The target's keys count the units (positions, pixels, samples) of one input; `attended` names
    it. Its queries count the units of the answer, or are one where the answer is one thing.
    """

    id: str
    inputs: dict[str, Value]
    answer: Value
    target: AttentionTarget | None = None
    attended: str = "text"
    references: list[str] = field(default_factory=list)  # texts that a prediction is compared with
    meta: dict[str, Any] = field(default_factory=dict)  # shown in reports, never seen by a model


class Source(ABC):
    """Yields the examples of each split; may say more about them."""

    @abstractmethod
    def examples(self, split: Split) -> Iterable[Example]: ...

    def require(self) -> None:  # noqa: B027 - most need nothing
        """Read the first rows; a `UserError` says which file or column is missing."""

    def contents(self) -> str:
        """Changes when the files do that the examples come from."""
        return ""

    def notes(self) -> dict[str, Any]:
        """What somebody should know about the examples that were yielded; kept with them."""
        return {}

    def vocabularies(self, training: Iterable[Example]) -> Mapping[str, Vocabulary]:
        """The vocabularies of inputs (and ANSWER) that are more than the units that occur.

        `training` can be gone through several times.
        """
        return {}
