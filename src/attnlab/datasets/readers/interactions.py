"""`Interactions`: a log of who chose what, as one history for each user."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from attnlab.data.example import Example, Source, Split
from attnlab.data.vocabulary import Vocabulary
from attnlab.datasets.readers.columns_config import Reader
from attnlab.datasets.readers.files import BadRowError, digest
from attnlab.datasets.readers.interactions_config import Titles
from attnlab.datasets.readers.rows import Faults, Row, RowReader
from attnlab.datasets.readers.words import number_of, text
from attnlab.errors import UserError, suggest

AFTER: dict[Split, int] = {"train": 2, "val": 1, "test": 0}  # items of a history kept for others


@dataclass(frozen=True, kw_only=True)
class Interactions(Source):
    """Leave one out: each user's last item is asked for in the test, given all before it.

    Validation asks for the last but one, training for the one before that.
    """

    folder: str
    file: str
    reader: Reader
    user: str
    item: str
    time: str | None
    rating: str | None
    at_least: float | None
    fewest: int
    longest: int | None
    titles: Titles | None
    limit: int | None
    bad_rows: float
    left_out: dict[str, Any] = field(default_factory=dict)  # notes on what was left out

    def examples(self, split: Split) -> Iterator[Example]:
        for number, (user, items) in enumerate(self.histories.items()):
            *before, answer = items[: len(items) - AFTER[split]]
            yield Example(
                id=f"{split}-{number}",
                inputs={"items": before if self.longest is None else before[-self.longest :]},
                answer=answer,
                attended="items",
                meta={"user": user},
            )

    def require(self) -> None:
        row = self._rows.first(Path(self.folder), self.file, "dataset.file")
        if row is not None:
            self._has_columns(row)

    def contents(self) -> str:
        keys = {"dataset.file": self.file}
        if self.titles is not None:
            keys["dataset.titles.file"] = self.titles.file
        files = [self._rows.files(Path(self.folder), name, key) for key, name in keys.items()]
        return digest(path for group in files for path in group)

    def notes(self) -> dict[str, Any]:
        return self.left_out

    def vocabularies(self, training: Iterable[Example]) -> Mapping[str, Vocabulary]:
        """All items of the log, also those that only the test asks for: none is easier to guess."""
        return {"items": Vocabulary.of(self.histories.values())}

    @cached_property
    def histories(self) -> dict[str, list[str]]:
        """The items of each user, in time order; those of the same time as the log has them."""
        faults = Faults("dataset.file", self.bad_rows)
        chosen: dict[str, list[tuple[float, str]]] = {}
        for row in islice(self._table(self.file, "dataset.file"), self.limit):
            if not faults.rows:
                self._has_columns(row)
            faults.rows += 1
            try:
                self._add(row, chosen)
            except BadRowError as error:
                faults.add(row, str(error))
        faults.check()
        if faults.bad:
            self.left_out["log"] = faults.text()
        kept = {user: each for user, each in chosen.items() if len(each) >= self.fewest}
        if few := len(chosen) - len(kept):
            self.left_out["users"] = f"{few} of {len(chosen)} have fewer than {self.fewest} items"
        if not kept:
            raise UserError(f"dataset.fewest: no user has {self.fewest} items in {self.file}")
        names = self._names()
        return {
            user: [names.get(item, item) for _, item in sorted(each, key=lambda pair: pair[0])]
            for user, each in kept.items()
        }

    def _add(self, row: Row, chosen: dict[str, list[tuple[float, str]]]) -> None:
        """One row of the log, unless its rating is too low."""
        if row.problem:
            raise BadRowError(row.problem)
        user, item = (_named(row, column) for column in (self.user, self.item))
        time = 0.0 if self.time is None else number_of(row.values[self.time], self.time)
        rating = (
            math.inf if self.rating is None else number_of(row.values[self.rating], self.rating)
        )
        if self.at_least is None or rating >= self.at_least:
            chosen.setdefault(user, []).append((time, item))

    def _names(self) -> dict[str, str]:
        """What items are called, each by a name of its own."""
        titles = self.titles
        if titles is None:
            return {}
        rows = list(self._table(titles.file, "dataset.titles.file"))
        for key, column in (("item", titles.item), ("title", titles.title)):
            _has(rows[0], column, f"dataset.titles.{key}")
        good = [row for row in rows if not row.problem]
        names = {str(r.values[titles.item]): str(r.values[titles.title]).strip() for r in good}
        times = Counter(names.values())
        return {i: name if times[name] == 1 else f"{name} [{i}]" for i, name in names.items()}

    def _table(self, name: str, key: str) -> Iterator[Row]:
        return self._rows.rows(Path(self.folder), name, key)

    def _has_columns(self, row: Row) -> None:
        wanted = {"user": self.user, "item": self.item, "time": self.time, "rating": self.rating}
        for key, column in wanted.items():
            if column is not None:
                _has(row, column, f"dataset.{key}")

    @cached_property
    def _rows(self) -> RowReader:
        return self.reader.build()


def _has(row: Row, column: str, key: str) -> None:
    """A column that the first row lacks is a mistake in the settings."""
    if not row.problem and column not in row.values:
        hint = suggest(column, row.values)
        raise UserError(f"{key}: no column '{column}' in {row.file}; {hint}")


def _named(row: Row, column: str) -> str:
    name = text(row.values[column], column).strip()
    if not name:
        raise BadRowError(f"'{column}' is empty")
    return name
