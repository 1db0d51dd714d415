"""`Row`: what every reader yields; how rows are found to be bad, and how many may be."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from attnlab.datasets.readers.files import found
from attnlab.errors import UserError

Where = str | dict[str, str | None]


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

    @abstractmethod
    def files(self, folder: Path, where: Where, key: str) -> list[Path]:
        """The files that hold the rows."""

    @abstractmethod
    def rows(self, folder: Path, where: Where, key: str) -> Iterator[Row]:
        """Every row, a few in memory at a time."""


class FileReader(RowReader):
    """Files that are read one after the other."""

    def files(self, folder: Path, where: Where, key: str) -> list[Path]:
        assert isinstance(where, str)
        return found(folder, where, key)

    def rows(self, folder: Path, where: Where, key: str) -> Iterator[Row]:
        for path in self.files(folder, where, key):
            yield from self.read(path)

    @abstractmethod
    def read(self, path: Path) -> Iterator[Row]:
        """The rows of one file."""


SHOWN = 3


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
            raise UserError(
                f"{self.key}: {self.text()}; dataset.bad_rows allows {self.allowed:.2%}"
            )

    def text(self) -> str:
        """In one line."""
        more = f"; and {self.bad - len(self.first)} more" if self.bad > len(self.first) else ""
        return f"{self.bad} of {self.rows} rows cannot be used ({'; '.join(self.first)}{more})"
