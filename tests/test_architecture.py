"""What docs/architecture.md promises of the house as a whole."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

from tests.commands import REPOSITORY

PACKAGE = REPOSITORY / "src" / "attnlab"
MODULES = sorted(PACKAGE.rglob("*.py"))
# From the lowest layer up: a package imports only from those before it.
ROOMS = [
    "errors",
    "allocator",
    "config",
    "attention",
    "data",
    "datasets",
    "metrics",
    "objectives",
    "models",
    "alignment",
    "tasks",
    "training",
    "explain",
    "report",
    "stages",
]

FILES = {room for room in ROOMS if (PACKAGE / f"{room}.py").is_file()}  # rooms of one file


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path) -> set[str]:
    """The rooms of the package that a file imports from, wherever in the file."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("attnlab.")}


def test_the_page_lists_every_room() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    assert rooms | FILES == set(ROOMS) - {"tasks"}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_room_imports_from_rooms_below_alone(path: Path) -> None:
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if room not in ROOMS:  # __init__, __main__, cli: the front door
        assert imported(path) <= {*FILES, "cli", "__version__"}
        return
    below = set(ROOMS[: ROOMS.index(room) + 1]) | {"__version__"}
    assert imported(path) <= below


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_module_can_be_imported(path: Path) -> None:
    if path.name != "__main__.py":
        importlib.import_module(name_of(path))


def test_every_module_says_what_it_is() -> None:
    silent = [
        name_of(path)
        for path in MODULES
        if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert silent == []
    assert not list(PACKAGE.rglob("util*.py"))


def test_tests_mirror_the_package() -> None:
    """A room has its tests in a folder of the same name."""
    tested = {path.name for path in (REPOSITORY / "tests").iterdir() if path.is_dir()}
    assert set(ROOMS) - FILES - {"tasks"} <= tested
