"""A JSON object as rows: each key with its value."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from attnlab.datasets.readers.paths import damage, opened
from attnlab.datasets.readers.row import FileReader, Row
from attnlab.errors import UserError


class MappingReader(FileReader):
    """Read as a whole, since JSON is."""

    def __init__(self, *, key: str, value: str) -> None:
        self.key, self.value = key, value

    def read(self, path: Path) -> Iterator[Row]:
        with damage(path), opened(path) as file:
            try:
                content = json.load(file)
            except json.JSONDecodeError as error:
                raise UserError(f"{path}: no JSON ({error.msg}, line {error.lineno})") from None
        if not isinstance(content, dict):
            raise UserError(f"{path}: holds no JSON object but a {type(content).__name__}")
        for number, (key, value) in enumerate(content.items(), start=1):
            yield Row(path.name, number, {self.key: key, self.value: value})
