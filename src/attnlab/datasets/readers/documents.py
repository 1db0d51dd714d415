"""What stands in files of its own, which a column names: a folder, or one within a zip."""

from __future__ import annotations

import zipfile
from pathlib import Path

from attnlab.datasets.readers.paths import archive_of, damage, missing
from attnlab.datasets.readers.row import BadRowError


class Documents:
    """`docs`, `docs.zip` or `docs.zip/inner`."""

    def __init__(self, path: Path, key: str) -> None:
        self.path, self.inner = path, ""
        packed = archive_of(path)
        self.archive = zipfile.ZipFile(packed[0]) if packed else None
        if packed:
            self.path, self.inner = packed[0], f"{packed[1]}/" if packed[1] else ""
        elif not path.is_dir():
            raise missing(path, key)

    def files(self) -> list[Path]:
        """What the texts are read from."""
        if self.archive is not None:
            return [self.path]
        return sorted(p for p in self.path.rglob("*") if p.is_file())

    def read(self, name: str) -> str:
        """One text."""
        try:
            return self.content(name).decode("utf-8-sig")
        except UnicodeDecodeError:
            raise BadRowError(f"document '{name}' is not UTF-8") from None

    def content(self, name: str) -> bytes:
        """What is in one file."""
        try:
            with damage(self.path):
                return self._bytes(name)
        except (KeyError, FileNotFoundError, IsADirectoryError):
            raise BadRowError(f"no document '{name}' in {self.path.name}") from None

    def _bytes(self, name: str) -> bytes:
        if self.archive is not None:
            return self.archive.read(self.inner + name)
        path = self.path / name
        if not path.is_file():
            raise KeyError(name)
        return path.read_bytes()
