"""`MediaSource`: rows of which one column holds a picture or a sound."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from attnlab.data.example import Example, Value
from attnlab.datasets.readers.answer_columns import AnswerColumn, named_by_answer
from attnlab.datasets.readers.columns_config import Answer
from attnlab.datasets.readers.files import Documents
from attnlab.datasets.readers.listing import File
from attnlab.datasets.readers.objects import ObjectsColumn
from attnlab.datasets.readers.rows import Row
from attnlab.datasets.readers.splits import RowSource
from attnlab.datasets.readers.words import Worded, Wording, text

WORDS = Wording("spaces", lowercase=False)  # no answer beside a picture or sound is a text
ONE = Worded([""], [(0, 0)])  # a picture or a sound is one thing, with one answer


@dataclass(frozen=True, kw_only=True)
class MediaSource(RowSource):
    """What pictures and sounds have in common: files with answers."""

    files: str | None
    column: str
    answer: Answer

    @abstractmethod
    def opened(self, content: bytes, name: str) -> np.ndarray:
        """What a file holds; one that cannot be read raises a BadRowError."""

    def columns(self) -> Mapping[str, str]:
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
