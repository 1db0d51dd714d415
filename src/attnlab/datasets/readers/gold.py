"""What the column of gold means: where to look, as an `AttentionTarget` over words."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal, Protocol

import numpy as np

from attnlab.data.target import AttentionTarget
from attnlab.datasets.readers.files import BadRowError
from attnlab.datasets.readers.words import Worded, text
from attnlab.datasets.targets import (
    Span,
    alignment_target,
    parse_pharaoh,
    score_target,
    span_target,
    together,
)

SPAN = re.compile(r"(\d+)[:-](\d+)")


@dataclass(frozen=True)
class AttendedUnits:
    """What gold is about: the attended text, and how many words the answer has."""

    looked_at: Worded
    answer_words: int

    @property
    def words(self) -> int:
        return len(self.looked_at.words)

    @property
    def units(self) -> int:
        """Words, or sentences where these are attended to."""
        return len(self.looked_at.units)


class GoldColumn(Protocol):
    """Makes the target of an example from a cell that is not empty."""

    column: str

    def read(self, cell: Any, attended: AttendedUnits) -> AttentionTarget: ...


def of_annotators(parts: Iterable[Any], read: Callable[[Any], AttentionTarget]) -> AttentionTarget:
    """Gold of what several annotators mark; null is of one who has not seen the example."""
    apart = [read(part) for part in parts if part is not None]
    if not apart:
        raise BadRowError("gold names annotators, and none has marked anything")
    return together(apart)


class Spans:
    """Marked stretches of one text: a rationale. One without length marks nothing.

    An object that is no span has the stretches of several annotators, by their names.
    """

    def __init__(
        self, *, column: str, keys: list[str] | None, counts: Literal["words", "characters"]
    ) -> None:
        self.column, self.keys, self.counts = column, keys, counts

    def read(self, cell: Any, attended: AttendedUnits) -> AttentionTarget:
        value = _parsed(cell)
        if isinstance(value, dict) and not (self.keys and value.keys() >= {*self.keys}):
            return of_annotators(value.values(), lambda part: self._marked(part, attended))
        return self._marked(value, attended)

    def _marked(self, value: Any, attended: AttendedUnits) -> AttentionTarget:
        spans = [(start, stop) for start, stop in self._found(value) if start != stop]
        if self.counts == "characters":
            spans = [attended.looked_at.of_characters(*span) for span in spans]
        return attended.looked_at.over_units(span_target([spans], attended.words))

    def _found(self, value: Any) -> Iterator[Span]:
        """Every span within lists of any depth."""
        if isinstance(value, str):
            yield from _written(value)
        elif isinstance(value, dict):
            yield self._of_object(value)
        elif isinstance(value, list) and len(value) == 2 and all(map(_is_number, value)):
            yield value[0], value[1]
        elif isinstance(value, list):
            for inner in value:
                yield from self._found(inner)
        else:
            raise BadRowError(f"{value!r} is no span")

    def _of_object(self, value: dict[str, Any]) -> Span:
        if self.keys is None:
            raise BadRowError("a span is an object: dataset.gold.keys has to name its two ends")
        start, stop = (value.get(key) for key in self.keys)
        if not (isinstance(start, int) and isinstance(stop, int)):
            raise BadRowError(f"a span without whole numbers {' and '.join(self.keys)}")
        return start, stop


class Quotes:
    """What is quoted from the text is marked wherever it stands there."""

    def __init__(self, *, column: str) -> None:
        self.column = column

    def read(self, cell: Any, attended: AttendedUnits) -> AttentionTarget:
        value = _parsed(cell)
        if isinstance(value, dict):
            return of_annotators(value.values(), lambda part: self._marked(part, attended))
        return self._marked(value, attended)

    def _marked(self, quotes: Any, attended: AttendedUnits) -> AttentionTarget:
        spans = []
        for quote in quotes if isinstance(quotes, list) else [quotes]:
            matches = _spans_of(text(quote, self.column), attended.looked_at.words)
            if not matches:
                raise BadRowError(f"'{self.column}' quotes what the text does not say: {quote!r}")
            spans += matches
        return attended.looked_at.over_units(span_target([spans], attended.words))


class Marks:
    """0 or 1 for each word or sentence; several annotators' are lists side by side."""

    def __init__(self, *, column: str) -> None:
        self.column = column

    def read(self, cell: Any, attended: AttendedUnits) -> AttentionTarget:
        marks = _numbers(cell)
        if marks.ndim not in (1, 2) or not np.isin(marks, (0, 1)).all():
            raise BadRowError(f"'{self.column}' is not a list of 0 and 1")
        _as_many("marks", marks, attended)
        on = np.ones(1, bool), np.ones(attended.units, bool)
        apart = [AttentionTarget(row[None].astype(np.float32), *on) for row in np.atleast_2d(marks)]
        return apart[0] if marks.ndim == 1 else together(apart)


class Scores:
    """A number for each word or sentence; several readers' are averaged."""

    def __init__(self, *, column: str) -> None:
        self.column = column

    def read(self, cell: Any, attended: AttendedUnits) -> AttentionTarget:
        scores = _numbers(cell)
        _as_many("scores", scores, attended)
        return score_target(scores)


class Facts:
    """What leads to the answer, one after the other: each has a row of its own."""

    def __init__(self, *, column: str, base: Literal[0, 1]) -> None:
        self.column, self.base = column, base

    def read(self, cell: Any, attended: AttendedUnits) -> AttentionTarget:
        numbers = _numbers(cell)
        if numbers.ndim != 1 or not (numbers == numbers.round()).all():
            raise BadRowError(f"'{self.column}' is not a list of whole numbers")
        if not len(numbers):
            raise BadRowError(f"'{self.column}' names nothing")
        positions = [int(number) - self.base for number in numbers]
        wrong = [
            position + self.base for position in positions if not 0 <= position < attended.units
        ]
        if wrong:
            raise BadRowError(
                f"'{self.column}' names number {wrong[0]} of {attended.looked_at.counted}"
            )
        return span_target([[(position, position + 1)] for position in positions], attended.units)


class LinkedWords:
    """Word alignment: the words of the answer attend to those of the input."""

    def __init__(
        self, *, column: str, base: Literal[0, 1], first: Literal["input", "answer"]
    ) -> None:
        self.column, self.first = column, first
        self.base: Literal[0, 1] = base

    def read(self, cell: Any, attended: AttendedUnits) -> AttentionTarget:
        line = cell if isinstance(cell, str) else " ".join(f"{i}-{j}" for i, j in _parsed(cell))
        links = parse_pharaoh(line, self.base)
        if self.first == "input":
            target = alignment_target(links, attended.words, attended.answer_words, keys="source")
        else:
            target = alignment_target(links, attended.answer_words, attended.words, keys="target")
        return attended.looked_at.over_units(target)


def _parsed(cell: Any) -> Any:
    """JSON where a text holds it."""
    if isinstance(cell, str) and cell.lstrip()[:1] in ("[", "{"):
        try:
            return json.loads(cell)
        except (ValueError, RecursionError) as error:
            raise BadRowError(f"gold is no JSON: {getattr(error, 'msg', error)}") from None
    return cell


def _spans_of(quote: str, words: Sequence[str]) -> list[Span]:
    """Where a quote stands among words, whatever its case and however it is split."""
    words = [word.lower() for word in words]
    quoted = "".join(quote.lower().split())
    ends = accumulate(map(len, words))
    border = {0: 0} | {end: word for word, end in enumerate(ends, start=1)}
    matches = re.finditer(f"(?={re.escape(quoted)})", "".join(words)) if quoted else ()
    spans = [(match.start(), match.start() + len(quoted)) for match in matches]
    return [(border[a], border[b]) for a, b in spans if a in border and b in border]


def _written(line: str) -> Iterator[Span]:
    for word in re.split(r"[\s,]+", line.strip()):
        match = SPAN.fullmatch(word)
        if match is None:
            raise BadRowError(f"'{word}' is not a span such as 3:7")
        yield int(match[1]), int(match[2])


def _numbers(cell: Any) -> np.ndarray:
    """words, or readers x words."""
    values = _parsed(cell)
    if isinstance(values, str):
        values = [word for word in re.split(r"[\s,]+", values.strip()) if word]
    try:
        return np.asarray(values, np.float64)
    except (TypeError, ValueError):
        raise BadRowError("gold is not a list of numbers") from None


def _as_many(what: str, numbers: np.ndarray, attended: AttendedUnits) -> None:
    if numbers.shape[-1:] != (attended.units,):
        count = numbers.shape[-1] if numbers.ndim else 1
        raise BadRowError(f"{count} {what} for {attended.looked_at.counted}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
