"""Words of texts, and what the column of the answer holds."""

from __future__ import annotations

import math
import re
import reprlib
from abc import ABC, abstractmethod
from bisect import bisect, bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, groupby
from typing import Any, Literal

from attnlab.data.example import Value
from attnlab.data.groups import Groups
from attnlab.data.target import AttentionTarget
from attnlab.datasets.readers.config import Split, WordRules
from attnlab.datasets.readers.files import BadRowError
from attnlab.datasets.readers.rows import NOT_UTF8, Row
from attnlab.datasets.targets import Span

# Thai and Lao, Burmese, Khmer; kana, Han
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
    "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
WORD: dict[Split, re.Pattern[str]] = {
    "spaces": re.compile(r"\S+"),
    # An English contraction (won't) is one word. An elision (l'homme, dell'arte) is two, l' homme,
    # also where somebody has split it already.
    "punctuation": re.compile(
        r"""(?:[cdjlmnst]|\w*qu)['\u2019](?=\s) | aujourd['\u2019]hui
        | \w+(?:['\u2019](?:t|s|m|d|re|ll|ve)\b)*(?:['\u2019](?=\w))? | [^\w\s]""",
        re.IGNORECASE | re.VERBOSE,
    ),
    "characters": re.compile(r"\S"),
    "unspaced": re.compile(f"[{UNSPACED}]|[^\\s{UNSPACED}]+"),
}


@dataclass(frozen=True)
class Worded:
    """The words of a text, and the characters of it that each is made of.

    Its units are what is attended to: the words, or whole sentences.
    """

    words: list[str]
    spans: list[Span]
    sentences: tuple[Span, ...] | None = None  # the words of each, where they are the units

    @property
    def units(self) -> list[str] | list[list[str]]:
        if self.sentences is None:
            return self.words
        return [self.words[start:stop] for start, stop in self.sentences]

    @property
    def counted(self) -> str:
        """How many units there are, in words."""
        return f"{len(self.units)} {'words' if self.sentences is None else 'sentences'}"

    def over_units(self, target: AttentionTarget) -> AttentionTarget:
        """Gold over words as gold over units."""
        if self.sentences is None:
            return target
        groups = Groups(len(self.words), tuple(tuple(range(*span)) for span in self.sentences))
        return target.regroup_keys(groups)

    def of_characters(self, start: int, stop: int) -> Span:
        """The words that hold any of the characters from start to stop."""
        first = bisect_right(self.ends, start)
        end = bisect_left(self.starts, stop)
        if first >= end:
            raise BadRowError(f"no word at characters {start}:{stop}")
        return first, end

    @cached_property
    def starts(self) -> list[int]:
        """The first character of each word."""
        return [start for start, _ in self.spans]

    @cached_property
    def ends(self) -> list[int]:
        """The character behind each word."""
        return [end for _, end in self.spans]


@dataclass(frozen=True)
class Wording:
    """The rules that a dataset sets."""

    split: Split
    lowercase: bool
    lists: Literal["words", "texts"] = "words"  # what a list is made of

    @classmethod
    def by(cls, rules: WordRules) -> Wording:
        return cls(rules.split, rules.lowercase, rules.lists)

    def of(self, value: Any, column: str) -> Worded:
        """The words of a cell: a text, a list of texts, or words that somebody else has split."""
        if isinstance(value, list) and self.lists == "texts":
            value = joined(value, column)
        if isinstance(value, list):
            return self._of_list([text(word, column) for word in value], column)
        whole = text(value, column)
        matches = list(WORD[self.split].finditer(whole))
        if not matches:
            raise BadRowError(f"'{column}' is empty")
        words = [match.group() for match in matches]
        return Worded(self._cased(words), [match.span() for match in matches])

    def in_sentences(self, value: Any, column: str) -> Worded:
        """The same in sentences: the lines of a text, or a list of texts."""
        whole = joined(value, column) if isinstance(value, list) else text(value, column)
        worded = self.of(whole, column)
        ends = [place for place, character in enumerate(whole) if character == "\n"]
        lines = groupby(range(len(worded.words)), lambda w: bisect(ends, worded.spans[w][0]))
        words = [list(line) for _, line in lines]
        return replace(worded, sentences=tuple((line[0], line[-1] + 1) for line in words))

    def _of_list(self, words: list[str], column: str) -> Worded:
        if not words or not all(words):
            raise BadRowError(f"'{column}' has no words, or an empty one")
        ends = [end - 1 for end in accumulate(len(word) + 1 for word in words)]
        spans = [(end - len(word), end) for word, end in zip(words, ends, strict=True)]
        return Worded(self._cased(words), spans)

    def _cased(self, words: list[str]) -> list[str]:
        return [word.lower() for word in words] if self.lowercase else words


def joined(texts: list[Any], column: str) -> str:
    """Several texts as one, a line each."""
    return "\n".join(" ".join(text(each, column).split()) for each in texts)


def text(value: Any, column: str) -> str:
    """A cell that has to be text, or a number to be read as one."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise BadRowError(f"'{column}' {NOT_UTF8}") from None
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if value is None:
        raise BadRowError(f"'{column}' is empty")
    raise BadRowError(f"'{column}' is not text but {type(value).__name__}")


def number_of(value: Any, column: str) -> float:
    """A cell that has to be a finite number, or text that reads as one."""
    try:
        read = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        read = math.nan
    if not math.isfinite(read):
        raise BadRowError(f"'{column}' is no number: {reprlib.repr(value)}")
    return read


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
