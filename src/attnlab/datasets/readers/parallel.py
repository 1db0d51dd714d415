"""Files side by side, of which each holds a column: lines of text, or IDX arrays (MNIST)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from attnlab.datasets.readers.files import PACKED, OverlongLine, damage, find_files, lines
from attnlab.datasets.readers.rows import Row, RowReader, Where
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
        together = itertools.zip_longest(*(lines(path, overlong=True) for path in columns.values()))
        for number, texts in enumerate(together, start=1):
            short = [
                path for path, text in zip(columns.values(), texts, strict=True) if text is None
            ]
            if short:
                raise UserError(
                    f"{key}: {short[0]} ends at line {number - 1}, the files beside it go on; "
                    "lines that belong together have to have the same number"
                )
            long = [text for text in texts if isinstance(text, OverlongLine)]
            if long:
                yield Row(first, number, problem=long[0].problem)
                continue
            yield Row(first, number, dict(zip(columns, texts, strict=True)) | absent)

    def _columns(self, folder: Path, where: Where, key: str) -> dict[str, Path]:
        """Column to file; a column without a file is empty in every row."""
        assert isinstance(where, dict)
        named = {name: file for name, file in where.items() if file is not None}
        if not named:
            raise UserError(f"{key}: no file for any column")
        return {name: find_files(folder, file, f"{key}.{name}")[0] for name, file in named.items()}


TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


class IdxReader(RowReader):
    """Row i is entry i of each file."""

    def files(self, folder: Path, where: Where, key: str) -> list[Path]:
        assert isinstance(where, dict)
        named = {column: name for column, name in where.items() if name is not None}
        return [find_files(folder, name, f"{key}.{c}")[0] for c, name in named.items()]

    def rows(self, folder: Path, where: Where, key: str) -> Iterator[Row]:
        assert isinstance(where, dict)
        columns = [column for column, name in where.items() if name is not None]
        files = self.files(folder, where, key)
        arrays = [read_idx(path) for path in files]
        sizes = {path.name: len(array) for path, array in zip(files, arrays, strict=True)}
        if len(set(sizes.values())) > 1:
            counts = ", ".join(f"{name} has {size}" for name, size in sizes.items())
            raise UserError(f"{key}: files of different lengths: {counts}")
        for number, entries in enumerate(zip(*arrays, strict=True), start=1):
            values = (e if isinstance(e, np.ndarray) else e.item() for e in entries)
            yield Row(files[0].name, number, dict(zip(columns, values, strict=True)))


def read_idx(path: Path) -> np.ndarray:
    """The whole array."""
    opener = PACKED.get(path.suffix, open)
    with damage(path), opener(path, "rb") as file:
        content: bytes = file.read()
    kind, dimensions = (content[2], content[3]) if content[:2] == b"\0\0" else (0, 0)
    if len(content) < 4 or kind not in TYPES or not dimensions:
        raise UserError(f"{path}: not in IDX format (it has to begin with 0 0 TYPE DIMENSIONS)")
    head = 4 + 4 * dimensions
    shape = np.frombuffer(content[4:head], ">u4").tolist()
    size = math.prod(shape) * np.dtype(TYPES[kind]).itemsize
    if len(content) != head + size:
        raise UserError(f"{path}: damaged ({len(content) - head} bytes of numbers, not {size})")
    array = np.frombuffer(content, TYPES[kind], offset=head).reshape(shape)
    return array.astype(array.dtype.newbyteorder("="), copy=False)
