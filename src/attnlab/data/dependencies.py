"""Which source files a module depends on, read off the import statements of each."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Collection, Iterable, Iterator
from functools import lru_cache
from pathlib import Path

PACKAGE = "attnlab"


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
    """The folder that a top-level package or module stands in."""
    try:
        spec = importlib.util.find_spec(top)
    except ValueError:  # `__main__`, which nobody can import again
        return None
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin)
    return path.parent.parent if path.name == "__init__.py" else path.parent


def _file_of(name: str, folders: Iterable[Path]) -> Path | None:
    """The source of a module; None for what is no module in these folders."""
    parts = name.split(".")
    for folder in folders:
        stem = folder.joinpath(*parts)
        for path in (stem.with_name(f"{stem.name}.py"), stem / "__init__.py"):
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
