"""What docs/architecture.md promises of the house as a whole."""

from __future__ import annotations

import ast
import importlib
from functools import cache
from pathlib import Path

import networkx as nx
import pytest

from tests.commands import REPOSITORY
from tests.conftest import LONGEST, TESTS

PACKAGE = REPOSITORY / "src" / "attnlab"
MODULES = sorted(PACKAGE.rglob("*.py"))
# From the lowest layer up: a package imports only from those before it.
ROOMS = [
    "errors",
    "compat",
    "hydra_compat",
    "text_files",
    "config",
    "attention",
    "data",
    "datasets",
    "metrics",
    "objectives",
    "watching",
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


NAMES = {name_of(module) for module in MODULES}


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(path: Path, at_once: bool = False) -> set[str]:
    """The rooms of the package that a file imports from: anywhere in it, or as it is imported."""
    names: set[str] = set()
    tree = parsed(path)
    for node in tree.body if at_once else ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("attnlab.")}


def modules_imported(path: Path) -> set[str]:
    """The modules of the package that a file imports, also within functions; those that only a
    type checker imports do not count."""
    names: set[str] = set()
    pending: list[ast.AST] = [parsed(path)]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            pending += node.orelse
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name if name in NAMES else node.module for name in inner}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        pending += ast.iter_child_nodes(node)
    return names & NAMES - {name_of(path)}


def test_no_module_imports_itself_in_a_circle() -> None:
    """Over the whole package, late imports included: every circle is on the list above."""
    graph = nx.DiGraph(
        (name_of(path), imported) for path in MODULES for imported in modules_imported(path)
    )
    circles = [part for part in nx.strongly_connected_components(graph) if len(part) > 1]
    assert sorted(map(sorted, circles)) == []


def test_the_page_lists_every_room() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    assert rooms | FILES == set(ROOMS)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_room_imports_from_rooms_below_alone(path: Path) -> None:
    if path == PACKAGE / "__init__.py":
        return  # the public API: names from anywhere, for type checkers alone
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if room not in ROOMS:  # __main__, cli: the front door, above all and light
        assert imported(path, at_once=True) <= {*FILES, "cli", "__version__"}
        return
    below = set(ROOMS[: ROOMS.index(room) + 1]) | {"__version__"}
    assert imported(path) <= below


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_module_can_be_imported(path: Path) -> None:
    if path.name != "__main__.py":
        importlib.import_module(name_of(path))


def test_every_module_says_what_it_is() -> None:
    silent = [name_of(path) for path in MODULES if not ast.get_docstring(parsed(path))]
    assert silent == []
    assert not list(PACKAGE.rglob("util*.py"))


def test_tests_mirror_the_package() -> None:
    """A room has its tests in a folder of the same name."""
    tested = {path.name for path in (REPOSITORY / "tests").iterdir() if path.is_dir()}
    assert set(ROOMS) - FILES <= tested


def test_the_files_that_begin_first_exist() -> None:
    assert not [name for name in LONGEST if not (TESTS / name).is_file()]
