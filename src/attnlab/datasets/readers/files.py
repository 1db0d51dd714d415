"""Finding and opening files: packed or not, and what to say when they are not there."""

from __future__ import annotations

import bz2
import fnmatch
import gzip
import hashlib
import io
import lzma
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

from attnlab.errors import UserError, suggest

PACKED: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
DAMAGED = (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, zipfile.BadZipFile)


class BadRowError(ValueError):
    """A row that cannot be used, and why; the others can."""


def found(folder: Path, name: str, key: str) -> list[Path]:
    """The file, or the files where the name holds a `*`, in alphabetical order.

    `data.zip/inner/part-*.csv` are files within an archive.
    """
    path = folder / name
    if packed := archive_of(path):
        return _members(*packed, key)
    if "*" in path.name:
        matches = sorted(path.parent.glob(path.name))
        if matches:
            return matches
    elif path.is_file():
        return [path]
    raise missing(path, key)


def archive_of(path: Path) -> tuple[Path, str] | None:
    """The .zip that a path leads into, and the name within; None where it leads into none."""
    for archive in (path, *path.parents):
        if archive.suffix == ".zip" and archive.is_file():
            inner = path.relative_to(archive).as_posix()
            return archive, "" if inner == "." else inner
    return None


def _members(archive: Path, inner: str, key: str) -> list[Path]:
    with damage(archive), zipfile.ZipFile(archive) as opened_archive:
        names = [name for name in opened_archive.namelist() if not name.endswith("/")]
    matches = sorted(fnmatch.filter(names, inner)) if inner else names[: len(names) == 1]
    if matches:
        return [archive / name for name in matches]
    hint = suggest(inner, names) or "the archive is empty"
    raise UserError(f"{key}: no file '{inner}' in {archive}; {hint}")


def missing(path: Path, key: str) -> UserError:
    """In one line: what is not there, and what is."""
    if not path.parent.is_dir():
        return UserError(
            f"{key}: no folder {path.parent}; put the data there, "
            "or try: paths.data=FOLDER, or dataset.folder=FOLDER"
        )
    there = [p.name for p in path.parent.iterdir() if not p.name.startswith(".")]
    hint = suggest(path.name, there) or "the folder is empty"
    return UserError(f"{key}: no file {path}; {hint}")


def lines(path: Path) -> Iterator[str]:
    """The lines of a file, without their ends. Bytes that are not UTF-8 come as surrogates."""
    with damage(path), opened(path) as file:
        for line in file:
            yield line.rstrip("\r\n")


def opened(path: Path) -> IO[str]:
    """A text file, unpacked by the end of its name; a mark at its begin (BOM) is left out."""
    if packed := archive_of(path):
        state = packed[0].stat()
        archive = _archive(packed[0], state.st_size, state.st_mtime_ns)
        member = archive.open(packed[1])
        unpacked = PACKED[path.suffix](member) if path.suffix in PACKED else member
        return io.TextIOWrapper(
            unpacked, encoding="utf-8-sig", errors="surrogateescape", newline=""
        )
    opener = PACKED.get(path.suffix, open)
    return opener(path, "rt", encoding="utf-8-sig", errors="surrogateescape", newline="")


@lru_cache(maxsize=4)
def _archive(path: Path, size: int, changed: int) -> zipfile.ZipFile:
    """Opened once: its list of contents may be long, and its files read one after the other."""
    return zipfile.ZipFile(path)


@contextmanager
def damage(path: Path) -> Iterator[None]:
    """A file that breaks off while it is read is the user's to mend."""
    try:
        yield
    except DAMAGED as error:
        raise UserError(f"{path}: damaged ({error})") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None


def digest(paths: Iterable[Path]) -> str:
    """Hash of what the files hold; names and times do not count."""
    total = hashlib.sha256()
    whole = ((archive_of(path) or (path,))[0] for path in paths)
    for path in dict.fromkeys(whole):
        state = path.stat()
        total.update(_digest(path, state.st_size, state.st_mtime_ns))
    return total.hexdigest()


@lru_cache(maxsize=4096)
def _digest(path: Path, size: int, changed: int) -> bytes:
    """Read once in a process, as long as size and time of change stay what they are."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


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
