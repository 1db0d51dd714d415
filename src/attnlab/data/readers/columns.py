"""What the column of the answer means."""

from __future__ import annotations

from typing import Any, Protocol

from attnlab.data.example import Value
from attnlab.data.readers.row import BadRowError
from attnlab.data.readers.words import Wording, text


class AnswerColumn(Protocol):
    """Makes the answer of an example."""

    column: str | None

    def read(self, cell: Any, wording: Wording, words: int) -> Value:
        """The answer in a cell, beside a text of so many words."""
        ...


class LabelColumn:
    """One label."""

    def __init__(self, *, column: str) -> None:
        self.column = column

    def read(self, cell: Any, wording: Wording, words: int) -> Value:
        label = str(cell) if isinstance(cell, bool) else text(cell, self.column).strip()
        if not label:
            raise BadRowError(f"'{self.column}' is empty")
        return label


class TextColumn:
    """A text to be written."""

    def __init__(self, *, column: str) -> None:
        self.column = column

    def read(self, cell: Any, wording: Wording, words: int) -> Value:
        return wording.of(cell, self.column).words


class TagsColumn:
    """A tag for each word."""

    def __init__(self, *, column: str) -> None:
        self.column = column

    def read(self, cell: Any, wording: Wording, words: int) -> Value:
        given = cell if isinstance(cell, list) else text(cell, self.column).split()
        tags = [text(tag, self.column) for tag in given]
        if len(tags) != words:
            raise BadRowError(f"{len(tags)} tags for {words} words")
        return tags


class NoColumn:
    """No answer besides the map."""

    column = None

    def read(self, cell: Any, wording: Wording, words: int) -> Value:
        return None
