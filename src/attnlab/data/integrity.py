"""Whether prepared data are as `prepare` wrote them; see `damage`.

`meta.json` holds the hash of every file. A record beside the folder holds sizes and dates of the
files when they were last found whole: a file is hashed again only where these differ.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

META = "meta.json"


def hashes(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file that examples and vocabularies are read from."""
    return {path.name: _hash(path) for path in sorted(folder.iterdir()) if _is_data(path)}


def digest(files: Mapping[str, str]) -> str:
    """One hash of all files, from `hashes`."""
    total = hashlib.sha256()
    for name in sorted(files):
        total.update(name.encode() + bytes.fromhex(files[name]))
    return total.hexdigest()


def damage(folder: Path, meta: Mapping[str, Any], thoroughly: bool = False) -> list[str]:
    """What differs from what `prepare` wrote, a phrase for each file; nothing if all is whole.

    Args:
        folder: prepared data.
        meta: the content of its `meta.json`.
        thoroughly: hash every file, whatever its size and date; `attnlab doctor` does.
    """
    expected: dict[str, str] = meta["files"]
    with suppress(TypeError, ValueError):  # of hashes that are none
        if digest(expected) == meta["digest"]:
            return _damaged_files(folder, expected, thoroughly)
    return [f"{META} contradicts itself"]


def _damaged_files(folder: Path, expected: Mapping[str, str], thoroughly: bool) -> list[str]:
    known, found = {} if thoroughly else _record(folder), []
    for name, wanted in expected.items():
        path = folder / name
        if not path.is_file():
            found.append(f"{name} is missing")
        elif known.get(name) != _stamp(path) and _hash(path) != wanted:
            found.append(f"{name} differs from its hash")
    others = [path.name for path in sorted(folder.iterdir()) if _is_data(path)]
    found += [f"{name} was not prepared" for name in others if name not in expected]
    if not found:
        remember(folder, expected, known)
    return found


def remember(
    folder: Path, files: Mapping[str, str], known: Mapping[str, Any] | None = None
) -> None:
    """Record that these files are whole now, unless that is known."""
    stamps = {name: _stamp(folder / name) for name in files}
    if stamps != known:
        record = _record_file(folder)
        draft = record.with_name(f"{record.name}.part")
        with suppress(OSError):  # a folder that cannot be written to is hashed each time
            draft.write_text(json.dumps(stamps) + "\n", encoding="utf-8")
            draft.replace(record)


def _is_data(path: Path) -> bool:
    return path.suffix in (".jsonl", ".npy") or path.name.startswith("vocabulary")


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _stamp(path: Path) -> list[int]:
    """Its size and dates; the second date changes also where a program sets the first."""
    state = path.stat()
    return [state.st_size, state.st_mtime_ns, state.st_ctime_ns]


def _record_file(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.whole.json")


def _record(folder: Path) -> dict[str, Any]:
    try:
        content = json.loads(_record_file(folder).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
