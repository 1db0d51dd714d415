"""Dates as people write them, in many languages and scripts, to be rewritten as YYYY-MM-DD.

The task of the attention tutorials made serious: real month and weekday names, real orders and
digits (CLDR), and for every character of the answer the characters of the text that say it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import cached_property

import numpy as np

from attnlab.data.example import Example
from attnlab.data.target import AttentionTarget
from attnlab.datasets.generators.calendar_texts import (
    DatePattern,
    Piece,
    Readings,
    Role,
    ordinal_suffix,
    own_digits,
    read_patterns,
)
from attnlab.datasets.generators.generator import Generator, Random, Split, drawn_for, pick

ANSWER_ROWS: dict[Role, range] = {"year": range(0, 4), "month": range(5, 7), "day": range(8, 10)}
ANSWER_LENGTH = len("YYYY-MM-DD")


@dataclass(frozen=True, kw_only=True)
class Dates(Generator):
    """Characters in, characters out; the splits share no date."""

    locales: list[str]
    styles: list[str]
    first_year: int
    last_year: int
    two_digit_years: float
    two_digit_start: int
    native_digits: float
    ordinals: float
    case_changes: float

    def make(self, name: str, split: Split, random: Random) -> Example:
        day = self._day(split, random)
        pattern, pieces = self._written(day, random)
        characters = list("".join(piece.text for piece in pieces))
        return Example(
            id=name,
            inputs={"text": characters},
            answer=list(day.isoformat()),
            target=character_target(pieces),
            meta={"locale": pattern.locale, "style": pattern.style},
        )

    @cached_property
    def patterns(self) -> list[list[DatePattern]]:
        """By language, so that all languages are equally frequent."""
        known = read_patterns(self.locales, self.styles)
        by_locale = [[p for p in known if p.locale == name] for name in self.locales]
        return [patterns for patterns in by_locale if patterns]

    @cached_property
    def readings(self) -> Readings:
        every = [pattern for patterns in self.patterns for pattern in patterns]
        return Readings(every, self.two_digit_start)

    @cached_property
    def digits(self) -> dict[str, dict[int, str] | None]:
        return {name: own_digits(name) for name in self.locales}

    def _day(self, split: Split, random: Random) -> date:
        first = date(self.first_year, 1, 1).toordinal()
        last = date(self.last_year, 12, 31).toordinal()

        def draw() -> date:
            return date.fromordinal(int(random.integers(first, last, endpoint=True)))

        return drawn_for(split, draw, date.isoformat)

    def _written(self, day: date, random: Random) -> tuple[DatePattern, list[Piece]]:
        """The date in some language and style, drawn again where the text would be ambiguous."""
        while True:
            pattern = pick(random, pick(random, self.patterns))
            short_year, ordinal, native, changed = random.random(4) < (
                self.two_digit_years,
                self.ordinals,
                self.native_digits,
                self.case_changes,
            )
            short_year = bool(short_year) and self.readings.short_year_fits(day)
            pieces = pattern.write(day, short_year)
            if not self.readings.only_one(pieces):
                continue
            if ordinal:
                pieces = with_ordinal(pieces, ordinal_suffix(pattern.locale, day.day))
            if changed:
                upper = bool(random.random() < 0.5)
                pieces = [Piece(p.role, change_case(p.text, upper)) for p in pieces]
            digits = self.digits[pattern.locale]
            if native and digits:
                pieces = [Piece(p.role, p.text.translate(digits)) for p in pieces]
            return pattern, pieces


def change_case(text: str, upper: bool) -> str:
    return text.upper() if upper else text.lower()


def with_ordinal(pieces: list[Piece], suffix: str) -> list[Piece]:
    """The day said as an ordinal, which nobody does beside a month in digits."""
    month = next(piece.text for piece in pieces if piece.role == "month")
    if not suffix or month.isdigit():
        return pieces
    at = next(i for i, piece in enumerate(pieces) if piece.role == "day")
    return [*pieces[: at + 1], Piece("other", suffix), *pieces[at + 1 :]]


def character_target(pieces: list[Piece]) -> AttentionTarget:
    """For each character of the answer, the characters of the text that say it."""
    length = sum(len(piece.text) for piece in pieces)
    weights = np.zeros((ANSWER_LENGTH, length), dtype=np.float32)  # answer x text
    start = 0
    for piece in pieces:
        if piece.role in ANSWER_ROWS:
            rows = ANSWER_ROWS[piece.role]
            for row, positions in zip(rows, said_by(piece.text, len(rows)), strict=True):
                weights[row, [start + position for position in positions]] = 1
        start += len(piece.text)
    hyphens = np.isin(np.arange(ANSWER_LENGTH), (4, 7))
    return AttentionTarget(weights, ~hyphens, np.ones(length, dtype=bool))


def said_by(text: str, digits: int) -> list[list[int]]:
    """Where `text` says each of the digits of a number.

    A digit is said by itself, a word by all its characters. The zero of '05' is said by '5' when
    it is not written; the century by both digits of a short year, from which it follows.
    """
    written = [i for i, character in enumerate(text) if character.isdigit()]
    if not written:
        return [list(range(len(text)))] * digits
    unwritten = digits - len(written)
    return [written] * unwritten + [[position] for position in written[-digits:]]
