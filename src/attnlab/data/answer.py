"""`Answer`: what an answer is made of. The forms stand with their tasks, in `tasks/NAME/`.

A form turns an answer into a tensor and a prediction into text, and says how many rows a gold map
of such an answer has.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from random import Random
from typing import Any, ClassVar, NamedTuple, Self

import numpy.typing as npt
from torch import Tensor

from attnlab.config.task import AnswerForm
from attnlab.data.example import Example
from attnlab.data.inputs import Input
from attnlab.data.tokenizers import vocabulary_of
from attnlab.data.vocabulary import Vocabulary
from attnlab.errors import UserError, suggest


@dataclass(frozen=True)
class Marks:
    """What an answer marks in a picture."""

    boxes: npt.NDArray[Any] | None = None  # boxes x 5 or 6: edges, class, confidence
    classes: npt.NDArray[Any] | None = None  # height x width
    count: int = 0  # classes in all


class TrainingData(NamedTuple):
    """What a form of answer is fitted on. Examples are gone through more than once."""

    examples: Iterable[Example]
    inputs: Mapping[str, Input]
    vocabulary: Vocabulary | None  # of answers, where it is more than the units that occur
    others: Iterable[Example]  # those of the other splits


class Answer(ABC):
    """One form of answer, with what the training data hold of it."""

    form: ClassVar[str]
    whole: ClassVar[bool] = False
    """Whether an answer has the rows of hops, however many units its gold map counts."""
    marks_picture: ClassVar[bool] = False
    """Whether an answer is a place in a picture, which moves when the picture is moved."""
    vocabulary: Vocabulary | None = None

    @classmethod
    def accepts(cls, answer: Any) -> bool:
        """Whether an example's answer is of this form."""
        return True

    def note(self) -> str:
        """What one should know of the training answers; empty where there is nothing to say."""
        return ""

    @classmethod
    @abstractmethod
    def fit(cls, data: TrainingData) -> Self:
        """What the answers of training examples, and those of other splits, hold.

        A choice that only other splits have is a choice too: never learned, it counts as the error
        that it is.
        """

    @classmethod
    def from_plain(cls, content: dict[str, Any]) -> Self:
        """What `describe` wrote down."""
        return cls(**content)

    def describe(self) -> dict[str, Any]:
        """As plain values: the fields of a data class."""
        return asdict(self)  # type: ignore[call-overload]

    @abstractmethod
    def encode(self, example: Example) -> Tensor: ...

    @abstractmethod
    def text(self, answer: Any) -> str:
        """An encoded answer or a prediction, as nested lists, in one line for people."""

    def rows(self, answer: Tensor) -> int:
        """How many rows the gold map of an encoded answer has."""
        return 1

    def annotation(self, text: str, words: Sequence[str]) -> Any:
        """A predicted answer as `dataset.annotations` reads it, of what `text` gives of it."""
        return text

    def decisions(self, answer: Any) -> list[str]:
        """The names of the decisions that an encoded answer consists of."""
        return [self.text(answer)]

    def row_names(self, example: Example, rows: int) -> list[str]:
        """What each of the rows of the example's map belongs to."""
        return [str(example.answer)] * rows

    def gold_text(self, example: Example, keys: Sequence[str]) -> str:
        """The right answer in words; `keys` name what is attended to."""
        return self.text(self.encode(example).tolist())

    def choices(self, example: Example) -> Sequence[str]:
        """The texts of which one is the answer, where they are units of the input."""
        return ()

    def named_choices(self) -> Sequence[str]:
        """All answers that there are, where they are few and have names."""
        return ()

    def marks(self, answer: npt.NDArray[Any]) -> Marks | None:
        """What an encoded answer or a prediction marks in a picture."""
        return None

    def same_choices(self, other: Answer) -> bool:
        """Whether numbers of one form's choices mean the same in another's."""
        return self.form == other.form and self.describe() == other.describe()

    def respelled(self, vocabulary: Vocabulary) -> Answer:
        """The same form written in the units of another vocabulary, if it is written in units."""
        return self

    def resampled(self, random: Random) -> Answer:
        """The same form with texts in pieces that are sampled anew."""
        return self

    def word_groups(self, example: Example) -> Any:
        """From the words of the example's answer to its units; None where it has no words."""
        return None


@dataclass(frozen=True)
class UnitAnswer(Answer):
    """An answer that is made of the units of a vocabulary."""

    vocabulary: Vocabulary  # type: ignore[assignment]

    @classmethod
    def from_plain(cls, content: dict[str, Any]) -> Self:
        return cls(vocabulary_of(content))

    def describe(self) -> dict[str, Any]:
        return self.vocabulary.describe()


def answer_form(form: str) -> type[Answer]:
    """The class of a form of answer, by its name."""
    kinds = AnswerForm.kinds()
    if form not in kinds:
        raise UserError(f"no form of answer '{form}'; {suggest(form, kinds)}")
    return kinds[form].model_construct(kind=form).implementation()
