"""What the column of the answer holds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from attnlab.data.example import Value
from attnlab.datasets.readers.files import BadRowError
from attnlab.datasets.readers.rows import Row
from attnlab.datasets.readers.words import Worded, Wording, number_of, text


class AnswerColumn(ABC):
    """Makes the answer of an example."""

    def __init__(self, *, column: str) -> None:
        self.column = column

    @property
    def columns(self) -> list[str]:
        """The columns that every row needs."""
        return [self.column]

    def answer(self, row: Row, wording: Wording, context: Worded) -> Value:
        """The answer in a row, beside the text that is attended to."""
        return self.read(row.values.get(self.column), wording, context)

    @abstractmethod
    def read(self, cell: Any, wording: Wording, context: Worded) -> Value:
        """The answer in a cell."""


class LabelColumn(AnswerColumn):
    """One label."""

    def read(self, cell: Any, wording: Wording, context: Worded) -> Value:
        label = str(cell) if isinstance(cell, bool) else text(cell, self.column).strip()
        if not label:
            raise BadRowError(f"'{self.column}' is empty")
        return label


class TextColumn(AnswerColumn):
    """A text to be written."""

    def read(self, cell: Any, wording: Wording, context: Worded) -> Value:
        return wording.of(cell, self.column).words


class FirstText(AnswerColumn):
    """The first of several texts."""

    def read(self, cell: Any, wording: Wording, context: Worded) -> Value:
        if not isinstance(cell, list) or not cell:
            raise BadRowError(f"'{self.column}' is not a list of texts")
        return wording.of(text(cell[0], self.column), self.column).words


class MarkColumn(AnswerColumn):
    """The one unit that is marked, by its number."""

    def read(self, cell: Any, wording: Wording, context: Worded) -> Value:
        marks = for_each_unit(cell, self.column, "marks", context)
        if marks.count("1") != 1 or marks.count("0") != len(marks) - 1:
            raise BadRowError(f"'{self.column}' does not mark one with 1 and all others with 0")
        return marks.index("1")


class TagsColumn(AnswerColumn):
    """A tag for each word or sentence."""

    def read(self, cell: Any, wording: Wording, context: Worded) -> Value:
        return for_each_unit(cell, self.column, "tags", context)


def for_each_unit(cell: Any, column: str, what: str, context: Worded) -> list[str]:
    """What a cell says of each word or sentence, as a list or with spaces between."""
    cells = cell if isinstance(cell, list) else text(cell, column).split()
    texts = [text(each, column) for each in cells]
    if len(texts) != len(context.units):
        raise BadRowError(f"{len(texts)} {what} for {context.counted}")
    return texts


class NumberColumn(AnswerColumn):
    """One number."""

    def read(self, cell: Any, wording: Wording, context: Worded) -> Value:
        return number_of(cell, self.column)


class NumberColumns(AnswerColumn):
    """Several numbers, each from a column of its own."""

    def __init__(self, *, columns: Sequence[str]) -> None:
        self.names = list(columns)

    @property
    def columns(self) -> list[str]:
        return self.names

    def answer(self, row: Row, wording: Wording, context: Worded) -> Value:
        return [number_of(row.values.get(name), name) for name in self.names]

    def read(self, cell: Any, wording: Wording, context: Worded) -> Value:
        raise NotImplementedError("several columns have no cell of their own")


class NoColumn(AnswerColumn):
    """No answer besides the map."""

    def __init__(self) -> None:
        super().__init__(column="")

    @property
    def columns(self) -> list[str]:
        return []

    def read(self, cell: Any, wording: Wording, context: Worded) -> Value:
        return None


def named_by_answer(columns: Sequence[str]) -> dict[str, str]:
    """The columns of the answer by the keys that name them."""
    if len(columns) == 1:
        return {"dataset.answer.column": columns[0]}
    return {f"dataset.answer.columns.{i}": column for i, column in enumerate(columns)}
