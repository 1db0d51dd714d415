"""CSV and TSV."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from pathlib import Path

from attnlab.datasets.readers.paths import damage, opened
from attnlab.datasets.readers.row import FileReader, Row


class CsvReader(FileReader):
    """Cells between delimiters; the first row names the columns unless `header` does."""

    def __init__(self, *, delimiter: str, quote: str | None, header: list[str] | None) -> None:
        self.delimiter, self.quote, self.header = delimiter, quote, header
        csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # a cell may be a whole document

    def read(self, path: Path) -> Iterator[Row]:
        with damage(path), opened(path) as file:
            quoting = csv.QUOTE_NONE if self.quote is None else csv.QUOTE_MINIMAL
            table = csv.reader(
                file, delimiter=self.delimiter, quotechar=self.quote or '"', quoting=quoting
            )
            names = self.header
            while True:
                start = table.line_num + 1
                try:
                    cells = next(table)
                except StopIteration:
                    return
                except csv.Error as error:
                    yield Row(path.name, start, problem=str(error))
                    continue
                if names is None:
                    names = cells
                elif cells:  # an empty line is no row
                    yield self._row(path.name, start, names, cells)

    def _row(self, file: str, number: int, names: list[str], cells: list[str]) -> Row:
        if len(cells) != len(names):
            problem = f"{len(cells)} cells in {len(names)} columns"
            return Row(file, number, problem=problem)
        return Row(file, number, dict(zip(names, cells, strict=True)))
