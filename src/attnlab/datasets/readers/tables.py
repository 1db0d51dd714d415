"""Tables: CSV and TSV, JSON Lines, a JSON object, Parquet."""

from __future__ import annotations

import csv
import json
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from attnlab.datasets.readers.files import (
    BadRowError,
    OverlongLine,
    ShortLines,
    damage,
    json_of,
    lines,
    opened,
)
from attnlab.datasets.readers.rows import FileReader, Row, RowReader, Where
from attnlab.errors import UserError, suggest

CONVERTED = "refs/convert/parquet"  # where the hub keeps as files what a script once made


def _short(line: str) -> str:
    """The line, unless it is too long; the lines behind it can be read all the same."""
    if isinstance(line, OverlongLine):
        raise BadRowError(line.problem)
    return line


# How tables are separated, what that is called, and what reads them.
SEPARATED = {
    ",": ("commas", "dataset/reader=csv"),
    "\t": ("tabs", "dataset/reader=tsv"),
    ";": ("semicolons", "dataset/reader=csv 'dataset.reader.delimiter=\";\"'"),
    "|": ("bars", "dataset/reader=csv 'dataset.reader.delimiter=\"|\"'"),
}


JSON = re.compile(r'\s*(\[\s*)?\{\s*"')  # how a file begins that is JSON


class CsvReader(FileReader):
    """Cells between delimiters; the first row names the columns unless `header` does."""

    same_columns = True

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
                if start == 1 and cells and JSON.match(cells[0]):
                    _no_array(path, cells[0])
                    raise UserError(f"{path}: JSON, not a table; try: dataset/reader=jsonl")
                if start == 1 and len(cells) == 1 and len(self.header or [""] * 2) > 1:
                    self._delimits(path, cells[0])
                if names is None:
                    names = cells
                elif cells:  # an empty line is no row
                    yield self._row(path.name, start, names, cells)

    def _delimits(self, path: Path, line: str) -> None:
        """A first line that is one cell, in which something else delimits, is a mistake."""
        for delimiter, (called, reader) in SEPARATED.items():
            cells = line.split(delimiter)
            if delimiter != self.delimiter and len(cells) > 1 and all(map(str.strip, cells)):
                own = SEPARATED.get(self.delimiter, (repr(self.delimiter), ""))[0]
                raise UserError(f"{path}: separated by {called}, not {own}; try: {reader}")

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


def _no_array(path: Path, line: str) -> None:
    """A first line that begins an array is a mistake: objects stand on lines of their own."""
    if line.lstrip().startswith("["):
        remedy = f"jq -c '.[]' {shlex.quote(str(path))} > {path.stem}.jsonl"
        raise UserError(f"{path}: a JSON array, not an object a line; try: {remedy}")


class JsonlReader(FileReader):
    """One object a line; empty lines are left out."""

    def read(self, path: Path) -> Iterator[Row]:
        for number, line in enumerate(lines(path, overlong=True), start=1):
            if isinstance(line, OverlongLine):
                yield Row(path.name, number, problem=line.problem)
                continue
            if not line.strip():
                continue
            if number == 1:
                _no_array(path, line)
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

    first = RowReader.first

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

    same_columns = True

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
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                number = 0
                for batch in file.iter_batches(self.batch):
                    for values in batch.to_pylist():
                        number += 1
                        yield Row(path.name, number, values)
        except (pa.ArrowException, OSError) as error:  # OSError: pages that do not unpack
            problem = str(error).splitlines()[0]
            raise UserError(f"{path}: damaged, or not Parquet ({problem})") from None


class HubReader(RowReader):
    """Rows as they come over the network; a number that stands for a class becomes its name."""

    def __init__(
        self,
        *,
        id: str,  # noqa: A002
        config: str | None,
        revision: str | None,
        numbers: Sequence[str],
    ) -> None:
        self.id, self.config, self.revision = id, config, revision
        self.numbers = numbers

    def files(self, folder: Path, where: Where, key: str) -> list[Path]:
        """Files on this machine; `revision` identifies the content of a dataset of the hub."""
        here = folder / self.id
        return sorted(p for p in here.rglob("*") if p.is_file()) if here.is_dir() else []

    def rows(self, folder: Path, where: Where, key: str) -> Iterator[Row]:
        assert isinstance(where, str)
        split = self._split(folder, where, key)
        classes = {column: _classes(feature) for column, feature in (split.features or {}).items()}
        named = {c: names for c, names in classes.items() if names and c not in self.numbers}
        for number, values in enumerate(split, start=1):
            renamed = {column: _named(values[column], names) for column, names in named.items()}
            yield Row(f"{self.id}:{where}", number, values | renamed)

    def _split(self, folder: Path, where: str, key: str) -> Any:
        try:
            import datasets
        except ModuleNotFoundError:
            raise UserError(
                "dataset.reader: 'hub' needs datasets; try: pip install 'attnlab[hub]'"
            ) from None
        here = folder / self.id
        if (here / "dataset_dict.json").is_file():
            splits = datasets.load_from_disk(str(here))
            if where not in splits:
                hint = suggest(where, map(str, splits))
                raise UserError(f"{key}: no split '{where}' in {here}; {hint}")
            return splits[where]
        converted = self.revision == CONVERTED  # has a folder for each configuration
        try:
            return datasets.load_dataset(
                str(here) if here.is_dir() else self.id,
                None if converted else self.config,
                data_dir=self.config if converted else None,
                split=where,
                revision=self.revision,
                streaming=True,
            )
        except Exception as error:  # the library raises many kinds, of several packages
            problem = " ".join(str(error).split())[:200]
            raise UserError(f"dataset.reader.id: cannot load '{self.id}' ({problem})") from None


def _classes(feature: Any) -> list[str] | None:
    """What the numbers of a column stand for, or those in its lists, where they are classes."""
    return getattr(getattr(feature, "feature", feature), "names", None)


def _named(value: Any, names: list[str]) -> Any:
    """The name of a class; -1 stands for one that is kept secret."""
    if isinstance(value, list):
        return [_named(each, names) for each in value]
    return names[value] if isinstance(value, int) and value >= 0 else None
