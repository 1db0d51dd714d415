"""`Row`: what every reader yields; how rows are found to be bad, and how many may be.

`RowSource`: splits of rows that become examples one by one, whatever is in the rows.
"""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

from attnlab.data.example import Example, Source, Split
from attnlab.datasets.readers.columns_config import Reader
from attnlab.datasets.readers.config import Splits
from attnlab.datasets.readers.files import BadRowError, digest, find_files
from attnlab.errors import UserError, suggest

Where = str | dict[str, str | None]

# What a cell of an unexpected form leads to: too deep, too large, of another type.
UNREADABLE = (TypeError, LookupError, ArithmeticError, RecursionError)


@dataclass(frozen=True)
class Row:
    """One row by column, and where it stands."""

    file: str
    number: int  # of its first line, counted from 1, or of the row where there are no lines
    values: dict[str, Any] = field(default_factory=dict)
    problem: str = ""  # why the reader could not read it

    @property
    def place(self) -> str:
        return f"{self.file} row {self.number}"


class RowReader(ABC):
    """How rows are found and read; `key` is the setting that says where they are."""

    same_columns: ClassVar[bool] = False  # in every row

    @abstractmethod
    def files(self, folder: Path, where: Where, key: str) -> list[Path]:
        """The files that hold the rows."""

    @abstractmethod
    def rows(self, folder: Path, where: Where, key: str) -> Iterator[Row]:
        """Every row, a few in memory at a time."""

    def first(self, folder: Path, where: Where, key: str) -> Row | None:
        """The first row, where it can be had at once; raises a `UserError` where files are not
        there, or hold none."""
        self.files(folder, where, key)
        return None


class FileReader(RowReader):
    """Files that are read one after the other."""

    def files(self, folder: Path, where: Where, key: str) -> list[Path]:
        assert isinstance(where, str)
        return find_files(folder, where, key)

    def rows(self, folder: Path, where: Where, key: str) -> Iterator[Row]:
        for path in self.files(folder, where, key):
            yield from self.read(path)

    def first(self, folder: Path, where: Where, key: str) -> Row | None:
        for row in self.rows(folder, where, key):
            return row
        raise UserError(f"{key}: no rows in {folder / str(where)}")

    @abstractmethod
    def read(self, path: Path) -> Iterator[Row]:
        """The rows of one file."""


SHOWN = 3
NOT_UTF8 = "is not UTF-8"  # how the problem of such a cell ends


@dataclass
class Faults:
    """Counted while the rows go by."""

    key: str  # the setting that says where the rows are
    allowed: float  # share of the rows
    rows: int = 0
    bad: int = 0
    first: list[str] = field(default_factory=list)  # the first few, with file and row

    def add(self, row: Row, problem: str) -> None:
        self.bad += 1
        if len(self.first) < SHOWN:
            self.first.append(f"{row.place}: {problem}")

    def check(self) -> None:
        """At the end of the rows: raises if too many were bad."""
        if self.bad > self.allowed * self.rows:
            allowed = f"dataset.bad_rows allows {self.allowed:.2%}"
            raise UserError(f"{self.key}: {self.text()}; {allowed}{self._remedy()}")

    def _remedy(self) -> str:
        if all(problem.endswith(NOT_UTF8) for problem in self.first):
            return "; try: iconv -f latin1 -t utf-8 FILE > NEW_FILE"
        if self.bad == self.rows:
            return ""
        return (
            f"; to leave them out: dataset.bad_rows={math.ceil(100 * self.bad / self.rows) / 100}"
        )

    def text(self) -> str:
        """In one line."""
        more = f"; and {self.bad - len(self.first)} more" if self.bad > len(self.first) else ""
        return f"{self.bad} of {self.rows} rows cannot be used ({'; '.join(self.first)}{more})"


@dataclass(frozen=True, kw_only=True)
class RowSource(Source):
    """Reads the files each time a split is iterated; a few rows are in memory at a time."""

    folder: str
    splits: Splits
    reader: Reader
    limit: int | None
    fold: int
    bad_rows: float
    faults: dict[str, Faults] = field(default_factory=dict)

    @abstractmethod
    def make(self, row: Row, name: str) -> Example:
        """The example that a row holds; a row that holds none raises a ValueError."""

    @abstractmethod
    def columns(self) -> dict[str, str]:
        """The columns that every row needs, by the keys of the settings that name them."""

    def content(self, example: Example) -> bytes:
        """The inputs: examples with equal inputs go to the same split."""
        return repr(sorted(example.inputs.items())).encode()

    def sometimes(self) -> dict[str, str]:
        """The same for columns that some row of a split needs."""
        return {}

    def beside(self) -> Iterable[Path]:
        """Files that are read besides those that hold the rows."""
        return ()

    def examples(self, split: Split) -> Iterator[Example]:
        held_out = self.splits.held_out()
        if split not in held_out and not (split == "train" and held_out):
            yield from self._all(split)
            return
        for example in self._all("train"):
            if self._split_of(example) == split:
                yield example

    def require(self) -> None:
        for split, where in self.splits.named().items():
            row = self._rows.first(Path(self.folder), where, _key(split))
            if row is not None:
                self._has_columns(row)

    def contents(self) -> str:
        """Hash of every file that is read."""
        named = self.splits.named().items()
        files = [self._rows.files(Path(self.folder), where, _key(s)) for s, where in named]
        return digest(path for group in (*files, self.beside()) for path in group)

    def notes(self) -> dict[str, Any]:
        """Rows that were left out."""
        return {split: f.text() for split, f in self.faults.items() if f.bad}

    def _all(self, split: str) -> Iterator[Example]:
        """The usable rows of a split that has files of its own."""
        faults = self.faults[split] = Faults(_key(split), self.bad_rows)
        where = self.splits.named()[split]
        rows = self._rows.rows(Path(self.folder), where, _key(split))
        unseen, columns = dict(self.sometimes()), set[str]()
        for row in islice(rows, self.limit):
            if faults.rows == 0:
                self._has_columns(row)
            faults.rows += 1
            columns |= row.values.keys() if unseen else set()
            unseen = {key: column for key, column in unseen.items() if column not in row.values}
            try:
                if row.problem:
                    raise BadRowError(row.problem)
                example = self.make(row, f"{split}-{faults.rows - 1}")
            except ValueError as error:
                faults.add(row, str(error))
            except UNREADABLE as error:
                faults.add(row, f"cannot be read ({type(error).__name__}: {error})")
            else:
                yield example
        for key, column in unseen.items() if faults.rows else ():
            raise UserError(f"{key}: no column '{column}' in {split}; {suggest(column, columns)}")
        faults.check()

    def _has_columns(self, row: Row) -> None:
        """A column that the first row lacks is a mistake in the settings, not in the row."""
        every = self.sometimes() if self._rows.same_columns else {}
        for key, column in (self.columns() | every).items():
            if not row.problem and column not in row.values:
                hint = suggest(column, row.values)
                raise UserError(f"{key}: no column '{column}' in {row.file}; {hint}")

    def _split_of(self, example: Example) -> Split:
        """By a hash of the inputs: examples with equal inputs are in the same split."""
        digest = hashlib.blake2b(self.content(example), digest_size=8).digest()
        place = int.from_bytes(digest, "big") / 2**64
        shares = self.splits.held_out()
        test, val = shares.get("test", 0.0), shares.get("val", 0.0)
        place = (place - self.fold * (test or val)) % 1.0
        if place < test:
            return "test"
        return "val" if place < test + val else "train"

    @cached_property
    def _rows(self) -> RowReader:
        return self.reader.build()


def _key(split: str) -> str:
    return f"dataset.splits.{split}"
