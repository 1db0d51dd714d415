"""CoNLL: one word a line with its columns, an empty line between sentences."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from attnlab.datasets.readers.paths import lines
from attnlab.datasets.readers.row import FileReader, Row


class ConllReader(FileReader):
    """A row is a sentence; each of its columns is a list with one entry for each word."""

    def __init__(
        self,
        *,
        columns: list[str | None],
        separator: str | None,
        closing: str | None,
        comment: str | None,
    ) -> None:
        self.columns, self.separator = columns, separator
        self.closing, self.comment = closing, comment

    def read(self, path: Path) -> Iterator[Row]:
        sentence: list[str] = []
        start = 1
        for number, line in enumerate(lines(path), start=1):
            if not line.strip():
                if sentence:
                    yield self._row(path.name, start, sentence)
                sentence, start = [], number + 1
            elif not (self.comment and line.startswith(self.comment)):
                sentence.append(line)
        if sentence:
            yield self._row(path.name, start, sentence)

    def _row(self, file: str, number: int, sentence: list[str]) -> Row:
        fields = [line.split(self.separator) for line in sentence]
        values: dict[str, object] = {}
        if self.closing is not None:
            last = fields.pop()
            if len(last) != 1:
                problem = f"its last line has {len(last)} fields, not '{self.closing}' alone"
                return Row(file, number, problem=problem)
            values[self.closing] = last[0]
        for i, words in enumerate(fields):
            if len(words) != len(self.columns):
                problem = f"word {i + 1} has {len(words)} of {len(self.columns)} columns"
                return Row(file, number, problem=problem)
        for column, entries in zip(self.columns, zip(*fields, strict=True), strict=False):
            if column is not None:
                values[column] = [entry.strip() for entry in entries]
        return Row(file, number, values)
