"""What the column of the answer holds."""

from __future__ import annotations

from typing import Any, Protocol

from attnlab.data.example import Value
from attnlab.datasets.readers.files import BadRowError
from attnlab.datasets.readers.words import Worded, Wording, text


class AnswerColumn(Protocol):
    """Makes the answer of an example."""

    column: str | None

    def read(self, cell: Any, wording: Wording, seen: Worded) -> Value:
        """The answer in a cell, beside the text that is looked at."""
        ...


class LabelColumn:
    """One label."""

    def __init__(self, *, column: str) -> None:
        self.column = column

    def read(self, cell: Any, wording: Wording, seen: Worded) -> Value:
        label = str(cell) if isinstance(cell, bool) else text(cell, self.column).strip()
        if not label:
            raise BadRowError(f"'{self.column}' is empty")
        return label


class TextColumn:
    """A text to be written."""

    def __init__(self, *, column: str) -> None:
        self.column = column

    def read(self, cell: Any, wording: Wording, seen: Worded) -> Value:
        return wording.of(cell, self.column).words


class FirstText:
    """The first of several texts."""

    def __init__(self, *, column: str) -> None:
        self.column = column

    def read(self, cell: Any, wording: Wording, seen: Worded) -> Value:
        if not isinstance(cell, list) or not cell:
            raise BadRowError(f"'{self.column}' is not a list of texts")
        return wording.of(text(cell[0], self.column), self.column).words


class MarkColumn:
    """The one unit that is marked, by its number."""

    def __init__(self, *, column: str) -> None:
        self.column = column

    def read(self, cell: Any, wording: Wording, seen: Worded) -> Value:
        marks = for_each_unit(cell, self.column, "marks", seen)
        if marks.count("1") != 1 or marks.count("0") != len(marks) - 1:
            raise BadRowError(f"'{self.column}' does not mark one with 1 and all others with 0")
        return marks.index("1")


class TagsColumn:
    """A tag for each word or sentence."""

    def __init__(self, *, column: str) -> None:
        self.column = column

    def read(self, cell: Any, wording: Wording, seen: Worded) -> Value:
        return for_each_unit(cell, self.column, "tags", seen)


def for_each_unit(cell: Any, column: str, what: str, seen: Worded) -> list[str]:
    """What a cell says of each word or sentence, as a list or with spaces between."""
    given = cell if isinstance(cell, list) else text(cell, column).split()
    said = [text(each, column) for each in given]
    if len(said) != len(seen.units):
        raise BadRowError(f"{len(said)} {what} for {seen.counted}")
    return said


class NoColumn:
    """No answer besides the map."""

    column = None

    def read(self, cell: Any, wording: Wording, seen: Worded) -> Value:
        return None
