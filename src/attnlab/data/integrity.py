"""What prepared data depend on: the code that made them, and that their files are as written.

`dependencies` reads off the import statements which source files a module depends on. For `damage`,
`meta.json` holds the hash of every file; a record beside the folder holds sizes and dates of the
files when they were last found whole: a file is hashed again only where these differ.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import sysconfig
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from attnlab.text_files import write_whole

PACKAGE = "attnlab"
INSTALLED = {Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")}

META = "meta.json"


def dependencies(modules: Iterable[str], without: Collection[str] = ()) -> dict[str, Path]:
    """The modules themselves and all that they import, directly or not: name -> source file.

    Modules of this package are followed, and those of the packages (or, for a single file, of the
    folder) that `modules` are in, so that a plugin brings its own files. What is imported for type
    checkers alone is not. `__init__` of this package re-exports its parts and is left out.

    Args:
        modules: full names, such as `attnlab.data.store`.
        without: modules, or packages with all in them, that are not followed.
    """
    names = list(modules)
    tops = {PACKAGE, *(name.partition(".")[0] for name in names)}
    folders = {top: folder for top in tops if (folder := _folder_of(top)) is not None}
    plugins = {folder for top, folder in folders.items() if (folder / f"{top}.py").is_file()}
    plugins -= INSTALLED  # a module there has no files of its own beside it
    files: dict[str, Path] = {}
    while names:
        name = names.pop()
        left_out = any(name == each or name.startswith(f"{each}.") for each in without)
        if name in files or name == PACKAGE or left_out:
            continue
        top = name.partition(".")[0]
        path = _file_of(name, [folders[top]] if top in folders else plugins)
        if path is not None:
            files[name] = path
            names += imported(name, path)
    return dict(sorted(files.items()))


def _folder_of(top: str) -> Path | None:
    """The folder that contains a top-level package or module."""
    try:
        spec = importlib.util.find_spec(top)
    except ValueError:  # `__main__`, which nobody can import again
        return None
    if spec is None:
        return None
    if spec.origin is None:  # a folder without __init__.py
        folders = list(spec.submodule_search_locations or ())
        return Path(folders[0]).parent if folders else None
    path = Path(spec.origin)
    return path.parent.parent if path.name == "__init__.py" else path.parent


def _file_of(name: str, folders: Iterable[Path]) -> Path | None:
    """The source of a module; None for what is no module in these folders."""
    parts = name.split(".")
    for folder in folders:
        stem = folder.joinpath(*parts)
        for path in (stem / "__init__.py", stem.with_name(f"{stem.name}.py")):  # as Python looks
            if path.is_file():
                return path
    return None


def imported(name: str, path: Path) -> tuple[str, ...]:
    """The names that a module imports, wherever in it; a name may be of a module, or within one."""
    state = path.stat()
    return _imported(name, path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=1024)
def _imported(name: str, path: Path, size: int, changed: int) -> tuple[str, ...]:
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    names: dict[str, None] = {}
    for node in _statements(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= dict.fromkeys(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                above = package.rsplit(".", node.level - 1)[0] if node.level > 1 else package
                module = f"{above}.{module}".strip(".")
            names |= dict.fromkeys([module, *(f"{module}.{alias.name}" for alias in node.names)])
    return tuple(names)


def _statements(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those that only a type checker reads."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        yield node
        yield from _statements(node)


def hashes(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file that examples and vocabularies are read from."""
    return {path.name: file_hash(path) for path in sorted(folder.iterdir()) if _is_data(path)}


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
        elif known.get(name) != _stamp(path) and file_hash(path) != wanted:
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
        with suppress(OSError):  # a folder that cannot be written to is hashed each time
            write_whole(_record_file(folder), json.dumps(stamps) + "\n")


def _is_data(path: Path) -> bool:
    return path.suffix in (".jsonl", ".npy") or path.name.startswith("vocabulary")


def file_hash(path: Path) -> str:
    """The SHA-256 of what a file holds."""
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
