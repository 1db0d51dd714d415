"""JSON Lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from attnlab.datasets.readers.paths import lines
from attnlab.datasets.readers.row import FileReader, Row


class JsonlReader(FileReader):
    """One object a line; empty lines are left out."""

    def read(self, path: Path) -> Iterator[Row]:
        for number, line in enumerate(lines(path), start=1):
            if not line.strip():
                continue
            try:
                values = json.loads(line)
            except json.JSONDecodeError as error:
                yield Row(path.name, number, problem=f"no JSON: {error.msg}")
                continue
            if isinstance(values, dict):
                yield Row(path.name, number, values)
            else:
                yield Row(path.name, number, problem="not a JSON object {...}")
