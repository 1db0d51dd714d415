"""Parallel files: line i of each belongs to row i."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

from attnlab.datasets.readers.paths import found, lines
from attnlab.datasets.readers.row import Row, RowReader, Where
from attnlab.errors import UserError


class LinesReader(RowReader):
    """A file for each column: source and translation, their alignment, scores of each word."""

    def files(self, folder: Path, where: Where, key: str) -> list[Path]:
        return list(self._columns(folder, where, key).values())

    def rows(self, folder: Path, where: Where, key: str) -> Iterator[Row]:
        columns = self._columns(folder, where, key)
        assert isinstance(where, dict)
        absent = dict.fromkeys(name for name, file in where.items() if file is None)
        first = next(iter(columns.values())).name
        together = itertools.zip_longest(*(lines(path) for path in columns.values()))
        for number, texts in enumerate(together, start=1):
            short = [
                path for path, text in zip(columns.values(), texts, strict=True) if text is None
            ]
            if short:
                raise UserError(
                    f"{key}: {short[0]} ends at line {number - 1}, the files beside it go on; "
                    "lines that belong together have to have the same number"
                )
            yield Row(first, number, dict(zip(columns, texts, strict=True)) | absent)

    def _columns(self, folder: Path, where: Where, key: str) -> dict[str, Path]:
        """Column to file; a column without a file is empty in every row."""
        assert isinstance(where, dict)
        given = {name: file for name, file in where.items() if file is not None}
        if not given:
            raise UserError(f"{key}: no file for any column")
        return {name: found(folder, file, f"{key}.{name}")[0] for name, file in given.items()}
