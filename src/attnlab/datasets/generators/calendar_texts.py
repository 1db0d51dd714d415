"""How a date is written in a language: CLDR's patterns (through Babel), field by field.

The fields are written one at a time, so that the characters that say the day, the month and the
year are known exactly, whatever the language.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Literal, TypeAlias

from babel import Locale, UnknownLocaleError
from babel.dates import DateTimeFormat, tokenize_pattern
from babel.localedata import locale_identifiers

from attnlab.errors import ConfigError, Mistake, suggest

Role: TypeAlias = Literal["day", "month", "year", "weekday", "other"]

ROLES: dict[str, Role] = {  # CLDR's field letters; the era (G) says nothing that is asked for
    **dict.fromkeys("d", "day"),
    **dict.fromkeys("ML", "month"),
    **dict.fromkeys("yu", "year"),
    **dict.fromkeys("Ec", "weekday"),
}
SKELETONS = {"abbreviated": "yMMMEd", "numeric": "yMd", "numeric_weekday": "yMEd"}
DIGIT_ZEROS = {  # code point of the zero in each of CLDR's numbering systems
    "arab": 0x0660,
    "arabext": 0x06F0,
    "beng": 0x09E6,
    "deva": 0x0966,
    "gujr": 0x0AE6,
    "guru": 0x0A66,
    "khmr": 0x17E0,
    "knda": 0x0CE6,
    "laoo": 0x0ED0,
    "mlym": 0x0D66,
    "mymr": 0x1040,
    "orya": 0x0B66,
    "tamldec": 0x0BE6,
    "telu": 0x0C66,
    "thai": 0x0E50,
    "tibt": 0x0F20,
}


@dataclass(frozen=True)
class Piece:
    """A stretch of a written date, and what it says."""

    role: Role
    text: str


@dataclass(frozen=True)
class DatePattern:
    """One way of one language: literal texts and fields (letter, width) in order."""

    locale: str
    style: str
    parts: tuple[str | tuple[str, int], ...]

    def write(self, day: date, short_year: bool = False) -> list[Piece]:
        return [self._piece(part, day, short_year) for part in self.parts]

    def _piece(self, part: str | tuple[str, int], day: date, short_year: bool) -> Piece:
        if isinstance(part, str):
            return Piece("other", part)
        letter, width = part
        role = ROLES.get(letter, "other")
        if role == "day":
            return Piece(role, f"{day.day:0{width}d}")
        if role == "year":
            return Piece(role, f"{day.year % 100:02d}" if short_year else str(day.year))
        number = day.weekday() if role == "weekday" else day.month
        return Piece(role, field_text(self.locale, letter * width, number))


@cache
def field_text(locale: str, field: str, number: int) -> str:
    """A month (1-12), a weekday (Monday is 0) or the era, as the language writes it."""
    is_weekday = ROLES.get(field[0]) == "weekday"
    # January 2001 began on a Monday
    day = date(2001, 1, 1 + number) if is_weekday else date(2001, number, 1)
    return DateTimeFormat(day, Locale.parse(locale))[field]


def read_patterns(locales: Iterable[str], styles: Iterable[str]) -> list[DatePattern]:
    """Every pattern of these languages in these styles; a style that a language lacks is left."""
    _check(list(locales))
    known = []
    for name in locales:
        locale = Locale.parse(name)
        for style in styles:
            by_skeleton = locale.datetime_skeletons.get(SKELETONS.get(style))
            pattern = locale.date_formats.get(style, by_skeleton)
            if pattern is not None:
                parts = tuple(
                    value if isinstance(value, str) else (str(value[0]), int(value[1]))
                    for _, value in tokenize_pattern(pattern.pattern)
                )
                known.append(DatePattern(name, style, parts))
    return known


def own_digits(locale: str) -> dict[int, str] | None:
    """The translation of 0-9 into the language's own digits, or None where it uses 0-9."""
    parsed = Locale.parse(locale)
    names = (parsed.default_numbering_system, parsed.other_numbering_systems.get("native"))
    zero = next((DIGIT_ZEROS[name] for name in names if name in DIGIT_ZEROS), None)
    if zero is None:
        return None
    return {ord("0") + value: chr(zero + value) for value in range(10)}


def ordinal_suffix(locale: str, day: int) -> str:
    """What follows the day's number where it is said as an ordinal, or nothing."""
    language = locale.partition("_")[0]
    if language == "en":
        teens = 11 <= day <= 13
        return "th" if teens else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
    if language == "sv":
        return ":a" if day % 10 in (1, 2) and day not in (11, 12) else ":e"
    if language == "nl":
        return "e"
    return {"fr": "er", "it": "º", "es": "º", "pt": "º"}.get(language, "") if day == 1 else ""


class Readings:
    """All that a text could mean to readers of the chosen languages.

    03/04/2005 is March for some and April for others. A text is kept only if every pattern that
    fits it reads the same date, so that the answer is a function of the text.
    """

    def __init__(self, patterns: Iterable[DatePattern], two_digit_start: int) -> None:
        self.two_digit_start = two_digit_start
        self.orders: dict[tuple[str, ...], set[tuple[Role, ...]]] = defaultdict(set)
        self.months: dict[str, set[int]] = defaultdict(set)
        for pattern in patterns:
            for month in range(1, 13):
                pieces = pattern.write(date(2001, month, 1))
                self.orders[_shape(pieces)].add(_order(pieces))
                word = next(p.text for p in pieces if p.role == "month")
                if not word.isdigit():
                    self.months[word.casefold()].add(month)

    def short_year_fits(self, day: date) -> bool:
        return 0 <= day.year - self.two_digit_start < 100

    def only_one(self, pieces: list[Piece]) -> bool:
        """Whether the languages agree about the date that is written here."""
        texts = [p.text for p in pieces if p.role in ("day", "month", "year")]
        read = {
            self._read(dict(zip(order, texts, strict=True)))
            for order in self.orders[_shape(pieces)]
        }
        word = next(p.text for p in pieces if p.role == "month")
        return len(read - {None}) == 1 and len(self.months.get(word.casefold(), {0})) == 1

    def _read(self, fields: dict[Role, str]) -> date | None:
        year, month, day = fields["year"], fields["month"], fields["day"]
        if len(year) == 1 or len(day) > 2 or not (year.isdigit() and day.isdigit()):
            return None
        number = int(month) if month.isdigit() else min(self.months[month.casefold()])
        century = self.two_digit_start + (int(year) - self.two_digit_start) % 100
        try:
            return date(century if len(year) == 2 else int(year), number, int(day))
        except ValueError:
            return None


def _shape(pieces: list[Piece]) -> tuple[str, ...]:
    """What a pattern looks like to someone who does not know which number is which."""
    return tuple(
        p.text.casefold() if p.role == "other" else "0" if p.text.isdigit() else f"<{p.role}>"
        for p in pieces
    )


def _order(pieces: list[Piece]) -> tuple[Role, ...]:
    return tuple(p.role for p in pieces if p.role in ("day", "month", "year"))


def _check(locales: list[str]) -> None:
    mistakes = []
    for name in locales:
        try:
            Locale.parse(name)
        except (UnknownLocaleError, ValueError):
            hint = suggest(name, locale_identifiers())
            mistakes.append(Mistake("dataset.locales", f"no language '{name}' in CLDR", hint))
    if mistakes:
        raise ConfigError(mistakes)
