"""Tables: CSV and TSV, JSON Lines, a JSON object, Parquet."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from attnlab.datasets.readers.files import (
    BadRowError,
    OverlongLine,
    ShortLines,
    damage,
    json_of,
    lines,
    opened,
)
from attnlab.datasets.readers.rows import FileReader, Row
from attnlab.errors import UserError


def _short(line: str) -> str:
    """The line, unless it is too long; the lines behind it can be read all the same."""
    if isinstance(line, OverlongLine):
        raise BadRowError(line.problem)
    return line


class CsvReader(FileReader):
    """Cells between delimiters; the first row names the columns unless `header` does."""

    def __init__(self, *, delimiter: str, quote: str | None, header: list[str] | None) -> None:
        self.delimiter, self.quote, self.header = delimiter, quote, header
        csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # a cell may be a whole document

    def read(self, path: Path) -> Iterator[Row]:
        with damage(path), opened(path) as file:
            source = ShortLines(file)
            table = csv.reader(
                map(_short, source),
                delimiter=self.delimiter,
                quotechar=self.quote or '"',
                quoting=csv.QUOTE_NONE if self.quote is None else csv.QUOTE_MINIMAL,
                strict=True,
            )
            names = self.header
            while True:
                start = source.number + 1
                try:
                    cells = next(table)
                except StopIteration:
                    return
                except (csv.Error, BadRowError) as error:
                    yield from self._lost(path.name, start, source.number, error)
                    continue
                if names is None:
                    names = cells
                elif cells:  # an empty line is no row
                    yield self._row(path.name, start, names, cells)

    def _lost(self, file: str, start: int, last: int, error: Exception) -> Iterator[Row]:
        """Every line from that of an opening quote to where it was found not to close."""
        problem = str(error)
        if last > start:
            problem = (
                f"a quote opens here and is never closed, or not at the end of a cell ({error})"
            )
        yield Row(file, start, problem=problem)
        for number in range(start + 1, last + 1):
            yield Row(file, number, problem=f"within the quote that opens in row {start}")

    def _row(self, file: str, number: int, names: list[str], cells: list[str]) -> Row:
        if len(cells) != len(names):
            problem = f"{len(cells)} cells in {len(names)} columns"
            return Row(file, number, problem=problem)
        return Row(file, number, dict(zip(names, cells, strict=True)))


class JsonlReader(FileReader):
    """One object a line; empty lines are left out."""

    def read(self, path: Path) -> Iterator[Row]:
        for number, line in enumerate(lines(path, overlong=True), start=1):
            if isinstance(line, OverlongLine):
                yield Row(path.name, number, problem=line.problem)
                continue
            if not line.strip():
                continue
            try:
                values = json.loads(line)
            except (ValueError, RecursionError) as error:
                problem = f"no JSON: {getattr(error, 'msg', error)}"
                yield Row(path.name, number, problem=problem)
                continue
            if isinstance(values, dict):
                yield Row(path.name, number, values)
            else:
                yield Row(path.name, number, problem="not a JSON object {...}")


class MappingReader(FileReader):
    """Read as a whole, since JSON is."""

    def __init__(self, *, key: str, value: str) -> None:
        self.key, self.value = key, value

    def read(self, path: Path) -> Iterator[Row]:
        content = json_of(path)
        if not isinstance(content, dict):
            raise UserError(f"{path}: holds no JSON object but a {type(content).__name__}")
        for number, (key, value) in enumerate(content.items(), start=1):
            yield Row(path.name, number, {self.key: key, self.value: value})


class ParquetReader(FileReader):
    """Rows in batches, so that a file may be larger than the memory."""

    def __init__(self, *, batch: int) -> None:
        self.batch = batch

    def read(self, path: Path) -> Iterator[Row]:
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ModuleNotFoundError:
            raise UserError(
                "dataset.reader: 'parquet' needs pyarrow; try: pip install 'attnlab[files]'"
            ) from None
        try:
            with pq.ParquetFile(path) as file:
                number = 0
                for batch in file.iter_batches(self.batch):
                    for values in batch.to_pylist():
                        number += 1
                        yield Row(path.name, number, values)
        except pa.ArrowInvalid as error:
            problem = str(error).splitlines()[0]
            raise UserError(f"{path}: damaged, or not Parquet ({problem})") from None
