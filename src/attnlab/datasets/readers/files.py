"""Finding and opening files: packed or not, and what to say when they are not there."""

from __future__ import annotations

import bz2
import codecs
import fnmatch
import gzip
import hashlib
import io
import json
import lzma
import shlex
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, Self

from attnlab.data.integrity import file_hash
from attnlab.errors import UserError, suggest

PACKED: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
LONGEST_LINE = 1 << 26  # characters of a line; one that is longer is a bad row
LONGEST_SKIPPED = 1 << 30  # characters that are read to find the end of such a line
LARGEST_FILE = 1 << 28  # bytes of a document, picture or sound
DAMAGED = (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, zipfile.BadZipFile)


class BadRowError(ValueError):
    """A row that cannot be used, and why; the others can."""


class MissingDataError(UserError):
    """A file or folder that is not there."""

    def __init__(self, message: str, path: Path) -> None:
        super().__init__(message)
        self.path = path


def find_files(folder: Path, name: str, key: str) -> list[Path]:
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


def missing(path: Path, key: str) -> MissingDataError:
    """In one line: what is not there, and what is."""
    if not path.parent.is_dir():
        problem = (
            f"{key}: no folder {path.parent}; put the data there, "
            "or try: paths.data=FOLDER, or dataset.folder=FOLDER"
        )
        return MissingDataError(problem, path)
    there = [p.name for p in path.parent.iterdir() if not p.name.startswith(".")]
    hint = suggest(path.name, there) or "the folder is empty"
    return MissingDataError(f"{key}: no file {path}; {hint}", path)


def lines(path: Path, overlong: bool = False) -> Iterator[str]:
    """The lines of a file, without their ends. Bytes that are not UTF-8 come as surrogates.

    Args:
        path: the file, packed or not.
        overlong: yield an `OverlongLine` for a line that is too long, instead of a `UserError`.
    """
    with damage(path), opened(path) as file:
        for number, line in enumerate(ShortLines(file), start=1):
            if isinstance(line, OverlongLine):
                if not overlong:
                    raise UserError(f"{path}, line {number}: {line.problem}")
                yield line
            else:
                yield line.rstrip("\r\n")


class OverlongLine(str):
    """Stands for a line of more than LONGEST_LINE characters; has none itself."""

    __slots__ = ()

    @property
    def problem(self) -> str:
        return f"longer than {LONGEST_LINE:,} characters"


class ShortLines:
    """The lines of an open file with their ends, of which no more than LONGEST_LINE is kept."""

    def __init__(self, file: IO[str]) -> None:
        self.file = file
        self.number = 0  # lines so far

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        line = self.file.readline(LONGEST_LINE)
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) < LONGEST_LINE or line.endswith("\n"):
            return line
        skipped = 0
        while (rest := self.file.readline(1 << 20)) and not rest.endswith("\n"):
            skipped += len(rest)
            if skipped > LONGEST_SKIPPED:
                raise EOFError(f"no line ends within {LONGEST_SKIPPED:,} characters")
        return OverlongLine()


def json_of(path: Path) -> Any:
    """What a JSON file holds, read as a whole."""
    with damage(path), opened(path) as file:
        try:
            return json.load(file)
        except json.JSONDecodeError as error:
            raise UserError(f"{path}: no JSON ({error.msg}, line {error.lineno})") from None
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}: no JSON ({error})") from None


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
    with opener(path, "rb") as file:
        if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            remedy = f"iconv -f utf-16 -t utf-8 {shlex.quote(str(path))} > NEW_FILE"
            raise UserError(f"{path}: not UTF-8 but UTF-16; try: {remedy}")
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
    return bytes.fromhex(file_hash(path))


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
        if self.archive is not None:
            try:
                return unpacked(self.archive, self.inner + name)
            except KeyError:
                raise BadRowError(f"no document '{name}' in {self.path.name}") from None
        return content_of(self.path, name)


def content_of(folder: Path, name: str) -> bytes:
    """What is in a file below a folder; one elsewhere, or a large one, is a `BadRowError`."""
    absent = BadRowError(f"no document '{name}' in {folder.name}")
    if "\0" in name:
        raise absent
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise BadRowError(f"'{name}' leads out of '{folder.name}'")
    if not path.is_file():
        raise absent
    with damage(path):
        _not_too_large(name, path.stat().st_size)
        return path.read_bytes()


def unpacked(archive: zipfile.ZipFile, name: str) -> bytes:
    """The same for a file within an archive; a `KeyError` where there is none of that name."""
    _not_too_large(name, archive.getinfo(name).file_size)
    try:
        return archive.read(name)
    except (*DAMAGED, RuntimeError, NotImplementedError) as error:  # encrypted; unknown method
        raise BadRowError(f"'{name}' cannot be unpacked ({error})") from None


def _not_too_large(name: str, size: int) -> None:
    if size > LARGEST_FILE:
        raise BadRowError(f"'{name}' has more than {LARGEST_FILE:,} bytes")
