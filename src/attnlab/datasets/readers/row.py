"""`Row`: what every reader yields, whatever the format; and how a row is found to be bad."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from attnlab.datasets.readers.paths import found

Where = str | dict[str, str | None]


class BadRowError(ValueError):
    """A row that cannot be used, and why; the others can."""


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
