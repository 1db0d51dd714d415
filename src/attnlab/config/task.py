"""Slots of a task and of the form of its answers. The kinds are in `tasks/NAME/__init__.py`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

from pydantic import Field

from attnlab.config.section import Section, Variant
from attnlab.errors import Mistake

MapRows = Literal["answer", "hops", "input"]


class Extent(NamedTuple):
    """How much training data there is, as far as a recipe depends on it."""

    examples: int
    words: float = 0.0  # of an attended text, or items of a history, in the mean
    spans: bool = False  # whether tags mark begin and inside of spans (BIO)
    form: Literal["text", "picture", "sound", "history"] = "text"  # of what is attended to
    new_words: float = 0.0  # share of words that nine tenths of the rows lack, in the last tenth
    longest: int = 0  # words of the longest answer
    letters: float = 0.0  # characters of an answer, in the mean
    repeats: bool = False  # whether an item may come twice in a history

    def steps(self, size: int) -> int:
        """Steps of an epoch with batches of this size."""
        return -(-max(self.examples, 1) // size)

    @classmethod
    def of(cls, texts: Sequence[Any], answers: Sequence[Any], share: float) -> Extent:
        """Measure the texts and answers of rows, of which a share is used for training."""
        split = [_parts(each) for each in answers]
        read = [_parts(each) for each in texts]
        return cls(
            round(share * len(texts)),
            sum(map(len, read)) / len(texts),
            any(str(tag).startswith("B-") for tags in split for tag in tags),
            new_words=_new_words([*zip(read, split, strict=False)]),
            longest=max(map(len, split), default=0),
            letters=sum(len(str(each)) for each in answers) / max(len(answers), 1),
        )


def _parts(cell: Any) -> list[Any]:
    return cell if isinstance(cell, list) else str(cell).split()


def _new_words(rows: Sequence[Sequence[Sequence[Any]]]) -> float:
    """The share of words in every tenth row that no other row has."""
    words = [[str(word).lower() for part in row for word in part] for row in rows]
    held_out = words[::10]
    known = {word for number, row in enumerate(words) if number % 10 for word in row}
    return sum(w not in known for row in held_out for w in row) / max(sum(map(len, held_out)), 1)


class AnswerForm(Variant, slot="answer_form"):
    """What an answer is made of: units, a label, a number, boxes. A dataset declares its form."""

    is_class: ClassVar[bool] = False
    """Whether an answer is one of a few labels, by which training can be balanced."""


class Eviction(Variant, slot="eviction"):
    """Which keys and values a decoder keeps of the units it has read and written.

    A decoder that attends to its own units reads all of them in every step. Training reads
    whole texts, and evicts nothing.
    """


class Task(Variant, slot="task"):
    """The form of the answer: translation, recognition and captioning are all `generate`.

    Class attributes state what a task can do. A task of a plugin sets them on its own class.
    """

    name: str = Field(description="shown in run names and tables")
    map: str = Field(
        min_length=1,
        description="the map that is compared with gold, and shown: a site's name",
    )

    facts: ClassVar[tuple[str, ...]] = (
        "answer_forms",
        "map_rows",
        "explains",
        "predicts_attention",
        "decodes",
        "map_decides",
        "attention_roles",
        "shares_texts",
    )
    answer_forms: ClassVar[tuple[str, ...]] = ()
    """Forms of answer that the task learns, of those that datasets declare."""
    map_rows: ClassVar[MapRows] = "answer"
    """What a row of the map belongs to: a unit of the answer, a hop, a unit of the input."""
    explains: ClassVar[bool] = False
    """Whether answers consist of decisions that `attnlab explain` can explain."""
    predicts_attention: ClassVar[bool] = False
    """Whether `model.prediction` can stand between encoder and answer."""
    decodes: ClassVar[bool] = False
    """Whether the model needs a decoder that writes units one after the other."""
    map_decides: ClassVar[bool] = True
    """Whether another map can change the answer; false where the map is the answer."""
    attention_roles: ClassVar[tuple[str, ...]] = ("cross",)
    """How the head calls `attention`: cross, self, or causal self-attention."""
    shares_texts: ClassVar[bool] = False
    """Whether several processes can train on one text, each on a part of its positions."""

    @property
    def causal(self) -> bool:
        """Whether each state of the input depends on the positions before it alone."""
        return False

    @property
    def map_hops(self) -> int:
        """Rows of the map of an answer that is given as a whole."""
        return 1

    @classmethod
    def learns(cls, dataset: Any) -> bool:
        """Whether the answers of a dataset are of a form that the task learns."""
        return dataset.answer_form in cls.answer_forms

    @classmethod
    def recipe(cls, data: Extent) -> dict[str, Any]:
        """Settings by key that fit data of this extent, for `model=auto`; none where it has none.

        They are values of `model=recurrent` and `attention=additive`, and of any other group.
        """
        return {}

    def mistakes(self, config: Any) -> Iterator[Mistake]:
        """A task learns answers of its own forms alone."""
        form, dataset = config.dataset.answer_form, config.dataset
        if not self.learns(dataset):
            suitable = [kind for kind, each in Task.kinds().items() if each.learns(dataset)]
            problem = f"'{self.kind}' does not go with answers of form '{form}' in '{dataset.name}'"
            hint = f"did you mean '{' or '.join(suitable)}'?" if suitable else ""
            yield Mistake("task.kind", problem, hint)

    def adapt_answers(self, answers: Any, inputs: Mapping[str, Any]) -> Any:
        """The form of the data's answers as this task learns them, beside what inputs are."""
        return answers


class Smoothed(Section):
    """A task whose loss is the cross-entropy of choices."""

    label_smoothing: float = Field(ge=0, lt=1, description="share of target mass spread evenly")


class ManyChoices(Smoothed):
    """A task whose choices are the units of a vocabulary."""

    scores_at_once: int | None = Field(
        gt=0,
        description="scores of units in memory at once: of more, the output layer and the loss are "
        "computed in pieces, and once more on the way back; null is no limit",
    )
