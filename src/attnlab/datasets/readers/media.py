"""Files of pictures and sounds: listed in folders and archives, and as the inputs of examples."""

from __future__ import annotations

import re
import zipfile
from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path, PurePosixPath

import numpy as np

from attnlab.data.example import Example, Value
from attnlab.datasets.readers.columns_config import Answer
from attnlab.datasets.readers.files import Documents, content_of, damage, missing, unpacked
from attnlab.datasets.readers.objects import ObjectsColumn
from attnlab.datasets.readers.rows import Row, RowReader, RowSource, Where
from attnlab.datasets.readers.words import AnswerColumn, Worded, Wording, named_by_answer, text
from attnlab.errors import UserError

CHOICE = re.compile(r"\{([^{}]*)\}")

WORDS = Wording("spaces", lowercase=False)  # no answer beside a picture or sound is a text
ONE = Worded([""], [(0, 0)])  # a picture or a sound is one thing, with one answer


@dataclass(frozen=True)
class File:
    """A cell that is a file: its name, and a function that reads its content."""

    name: str
    content: Callable[[], bytes]


class ListingReader(RowReader):
    """A row for each file, in alphabetical order: `file`, and what its name says."""

    def __init__(self, *, pattern: str | None) -> None:
        self.pattern = pattern
        self.columns = None if pattern is None else _compiled(pattern)

    def files(self, folder: Path, where: Where, key: str) -> list[Path]:
        assert isinstance(where, str)
        archive, _ = _archive(folder, where)
        if archive is not None:
            return [archive]
        return [folder / name for name in _in_folder(folder, where, key)]

    def rows(self, folder: Path, where: Where, key: str) -> Iterator[Row]:
        assert isinstance(where, str)
        archive, inner = _archive(folder, where)
        if archive is None:
            for number, name in enumerate(_in_folder(folder, where, key), start=1):
                yield self._row(where, number, File(name, partial(content_of, folder, name)))
            return
        with damage(archive), zipfile.ZipFile(archive) as packed:
            names = sorted(n for n in packed.namelist() if _fits(n, inner))
            if not names:
                raise UserError(f"{key}: no file in {archive} fits '{inner}'")
            for number, name in enumerate(names, start=1):
                yield self._row(where, number, File(name, partial(unpacked, packed, name)))

    def _row(self, where: str, number: int, file: File) -> Row:
        if self.columns is None:
            return Row(where, number, {"file": file})
        match = self.columns.search(file.name)
        if match is None:
            return Row(file.name, number, problem=f"its name is not like '{self.pattern}'")
        return Row(file.name, number, {"file": file, **match.groupdict()})


def _compiled(pattern: str) -> re.Pattern[str]:
    """`{label}/{id}.png` as what finds label and id at the end of a path."""
    parts = [
        f"(?P<{part}>[^/]+?)" if i % 2 else re.escape(part)
        for i, part in enumerate(CHOICE.split(pattern))
    ]
    return re.compile(rf"(?:^|/){''.join(parts)}$")


def _archive(folder: Path, where: str) -> tuple[Path | None, str]:
    """The zip that a pattern reaches into, if it does, and the pattern within."""
    before, zipped, inner = where.partition(".zip/")
    if not zipped:
        return None, where
    path = folder / f"{before}.zip"
    if not path.is_file():
        raise missing(path, "dataset.splits")
    return path, inner


def _in_folder(folder: Path, where: str, key: str) -> list[str]:
    """The files that fit, relative to the folder."""
    patterns = list(_choices(where))
    names = {p.relative_to(folder).as_posix() for each in patterns for p in folder.glob(each)}
    kept = sorted(name for name in names if (folder / name).is_file())
    if not kept:
        if not folder.is_dir():
            raise missing(folder / where, key)
        raise UserError(f"{key}: no file in {folder} fits '{where}'")
    return kept


def _fits(name: str, pattern: str) -> bool:
    path = PurePosixPath(name)
    options = [PurePosixPath(each) for each in _choices(pattern)]
    return any(len(o.parts) == len(path.parts) and path.match(str(o)) for o in options)


def _choices(pattern: str) -> Iterator[str]:
    """`{a,b}*.wav` is `a*.wav` and `b*.wav`."""
    match = CHOICE.search(pattern)
    if match is None:
        yield pattern
        return
    for choice in match[1].split(","):
        yield from _choices(pattern[: match.start()] + choice + pattern[match.end() :])


@dataclass(frozen=True, kw_only=True)
class MediaSource(RowSource):
    """What pictures and sounds have in common: files with answers."""

    files: str | None
    column: str
    answer: Answer

    @abstractmethod
    def opened(self, content: bytes, name: str) -> np.ndarray:
        """What a file holds; one that cannot be read raises a BadRowError."""

    def columns(self) -> dict[str, str]:
        return {"dataset.column": self.column} | named_by_answer(self._answer.columns)

    def beside(self) -> Iterator[Path]:
        if self.files is not None:
            yield from self._files.files()

    def content(self, example: Example) -> bytes:
        return np.ascontiguousarray(example.inputs[example.attended]).tobytes()

    def array(self, row: Row) -> np.ndarray:
        """The picture or sound of a row, as it is stored."""
        cell = row.values[self.column]
        if isinstance(cell, np.ndarray):
            return cell
        if isinstance(cell, File):
            return self.opened(cell.content(), cell.name)
        name = text(cell, self.column)
        return self.opened(self._files.content(name), name)

    def answered(self, row: Row) -> Value:
        assert not isinstance(self._answer, ObjectsColumn)
        return self._answer.answer(row, WORDS, ONE)

    @cached_property
    def _answer(self) -> AnswerColumn | ObjectsColumn:
        return self.answer.build()

    @cached_property
    def _files(self) -> Documents:
        return Documents(Path(self.folder) / (self.files or ""), "dataset.files")
