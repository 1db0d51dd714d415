"""How a text becomes words, the units that gold counts."""

from __future__ import annotations

import math
import re
import reprlib
from bisect import bisect, bisect_left, bisect_right
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, groupby
from typing import Any, Literal

from attnlab.data.groups import Groups
from attnlab.data.target import AttentionTarget
from attnlab.datasets.readers.config import WordRules
from attnlab.datasets.readers.files import BadRowError
from attnlab.datasets.targets import Span

WORD = {
    "spaces": re.compile(r"\S+"),
    "punctuation": re.compile(r"\w+|[^\w\s]"),
    "characters": re.compile(r"\S"),
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

    split: Literal["spaces", "punctuation", "characters"]
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
            raise BadRowError(f"'{column}' is not UTF-8") from None
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
