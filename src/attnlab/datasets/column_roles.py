"""What each column of a table holds, found by trying the classes that read answers and gold."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from attnlab.datasets.readers.gold import AttendedUnits, LinkedWords, Marks, Quotes, Scores, Spans
from attnlab.datasets.readers.rows import UNREADABLE, Row
from attnlab.datasets.readers.words import Wording, number_of

MOST_LABELS = 100
MOST_GRADES = 10  # more different numbers are amounts, unless the column is called a label
GOLD: dict[str, Any] = {  # kind -> what reads it, the ones that say most first
    "links": LinkedWords(column="", base=0, first="input"),
    "marks": Marks(column=""),
    "spans": Spans(column="", keys=None, counts="words"),
    "scores": Scores(column=""),
    "quotes": Quotes(column=""),
}
# Names that a column often has, by what it then holds.
NAMES = {
    "text": r"text|sentence|tokens|words?|source|src|question|premise|review|input|document|en",
    "label": r"label|class|category|intent|sentiment|topic|genre|target|y",
    "answer": r"target|tgt|answer|summary|translation|reply|output|de|fr",
    "number": r"score|rating|price|value|target|label|y",
    "tags": r"tags?|ner_tags|labels|slots|pos",
    "user": r"user|customer|reader|visitor|session|client",
    "item": r"item|product|movie|film|book|song|track|article",
    "time": r"time|timestamp|date|ts",
}
SECOND = r"hypothesis|context|sentence_?2|text_?b|question2"  # a text that is read beside the first


class Columns:
    """The first rows of a table, column by column."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = [row.values for row in rows if not row.problem]
        self.names = list(dict.fromkeys(name for row in self.rows for name in row))

    def filled(self, name: str) -> list[dict[str, Any]]:
        """The rows in which a column is not empty."""
        return [row for row in self.rows if row.get(name) not in (None, "", [])]

    def distinct(self, name: str) -> list[str]:
        """What its cells hold, each once, in the order in which it comes."""
        return list(dict.fromkeys(str(row[name]) for row in self.filled(name)))

    def reads(self, name: str, read: Callable[[dict[str, Any]], Any]) -> bool:
        """Whether nearly all of its cells can be read in a way."""
        rows = self.filled(name)
        return bool(rows) and sum(_succeeds(read, row) for row in rows) >= 0.98 * len(rows)

    def texts(self) -> list[str]:
        """Columns of running text or of lists of words, the likeliest to be looked at first."""
        lengths = {}
        for name in self.names:
            cells = [cell_words(row[name]) for row in self.filled(name)]
            words = [" ".join(units).split() for units in cells]
            count = sum(map(len, words))
            spelt = sum(any(map(str.isalpha, word)) for each in words for word in each)
            if words and count >= 2 * len(words) and spelt > count / 2:
                lengths[name] = count / len(words)
        names = [name for name in lengths if not self._labels(name)] or list(lengths)
        return sorted(names, key=lambda name: (not called(name, "text"), -lengths[name]))

    def lists_texts(self, name: str) -> bool:
        """Whether its cells are lists of sentences, rather than texts or lists of words."""
        lists = [row[name] for row in self.filled(name) if isinstance(row[name], list)]
        items = [str(item) for each in lists for item in each]
        return sum(len(item.split()) > 1 for item in items) > len(items) / 2

    def tags(self, text: str) -> list[str]:
        """Columns with a tag for each word of a text: the same few again and again."""
        return [name for name in self.names if name != text and self._tags(name, text)]

    def _tags(self, name: str, text: str) -> bool:
        units = [cell_words(row[name]) for row in self.filled(name)]
        kinds = {unit for each in units for unit in each}
        words = {word for row in self.filled(text) for word in cell_words(row[text])}
        few = 2 * len(kinds) <= len(words) and 3 * len(kinds) <= sum(map(len, units))
        names = not all(re.fullmatch(r"[\d.eE+-]+", kind) for kind in kinds)

        def as_many(row: dict[str, Any]) -> None:
            if len(cell_words(row[name])) != len(cell_words(row[text])):
                raise ValueError

        return few and names and any(len(u) > 1 for u in units) and self.reads(name, as_many)

    def gold(self, text: str, other: str | None) -> Iterator[tuple[str, str, str]]:
        """Columns that say where to look in a text: the kind of gold, the column, and how the text
        is split into the words that it marks."""

        def units_of(row: dict[str, Any], split: str) -> AttendedUnits:
            answer = len(cell_words(row[other])) if other else 1
            words = Wording(split, lowercase=False).of(row[text], text)  # type: ignore[arg-type]
            return AttendedUnits(words, answer)

        for kind, gold in GOLD.items():
            for name in self.names:
                if name == text or (name == other and kind != "quotes"):
                    continue
                if kind == "links" and other is None:
                    continue
                if kind == "quotes" and self._found_by_chance(name):
                    continue
                # Numbers count words between spaces; what is quoted may end before a full stop.
                for split in ("spaces", "punctuation") if kind == "quotes" else ("spaces",):

                    def read(row: dict[str, Any], name=name, gold=gold, split=split) -> Any:
                        return gold.read(row[name], units_of(row, split))

                    if self.reads(name, read):
                        yield kind, name, split

    def _found_by_chance(self, name: str) -> bool:
        """Whether its cells may occur in a text by chance, as labels of one word do."""
        phrases = sum(len(cell_words(row[name])) > 1 for row in self.filled(name))
        if 2 * phrases > len(self.filled(name)):
            return called(name, "answer")
        return self._labels(name) or self._numbers(name) or called(name, "answer")

    def labels(self) -> list[str]:
        """Columns that hold a few things again and again."""
        names = [n for n in self.names if self._labels(n) and not _counts_rows(n)]
        return [n for n in names if called(n, "label") or not self._amounts(n)]

    def _amounts(self, name: str) -> bool:
        return len(self.distinct(name)) > MOST_GRADES and self._numbers(name)

    def _labels(self, name: str) -> bool:
        cells = [row[name] for row in self.filled(name)]
        single = all(isinstance(cell, str | int) for cell in cells)
        most = min(MOST_LABELS, max(2, len(cells) // 3))
        return single and 1 < len(self.distinct(name)) <= most

    def numbers(self) -> list[str]:
        """Columns of numbers that do not count the rows."""
        return [n for n in self.names if self._numbers(n) and not _counts_rows(n)]

    def _numbers(self, name: str) -> bool:
        return self.reads(name, lambda row: number_of(row[name], name))

    def first(self, what: str) -> str | None:
        """The column that has a usual name for what it holds."""
        return next((name for name in self.names if called(name, what)), None)


def likeliest(what: str, names: Sequence[str]) -> str:
    """Of columns that may hold something the one that is called so, or else the last."""
    return next((name for name in names if called(name, what)), names[-1])


def called(name: str, what: str) -> bool:
    """Whether a column has one of the usual names: `user_id:token` is a user."""
    plain = re.sub(r"[ _-]?id$", "", name.lower().partition(":")[0])
    return re.fullmatch(NAMES[what], plain) is not None


def _counts_rows(name: str) -> bool:
    return re.fullmatch(r"(.*_)?(id|index|nr|no)|unnamed.*|", name.lower()) is not None


def cell_words(cell: Any) -> list[str]:
    """The words of a cell: a list, or a text at its spaces."""
    return [str(each) for each in cell] if isinstance(cell, list) else str(cell).split()


def _succeeds(read: Callable[[dict[str, Any]], Any], row: dict[str, Any]) -> bool:
    try:
        read(row)
    except (ValueError, *UNREADABLE):
        return False
    return True
