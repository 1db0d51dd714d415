"""Text files of attnlab: written whole or not at all, read without trust.

Whatever is wrong with one that is read ends as a `DamagedFileError`: one line with the file, the
problem and the command that helps.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from attnlab.errors import UserError
from attnlab.hydra_compat import omegaconf_loader

LARGEST = 1 << 28  # bytes of a file
LARGEST_YAML = 1 << 20
MOST_NODES = 100_000  # values of a YAML file, with those that its aliases repeat
# What code that takes a value apart raises where the value is not what it was written as.
WRONG_CONTENT = (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError)


class DamagedFileError(UserError):
    """A file that does not hold what was written to it."""


@contextmanager
def damage_reported(path: Path, remedy: str) -> Iterator[None]:
    """Whatever goes wrong inside is a damage of this file.

    Args:
        path: the file whose content is taken apart.
        remedy: the command that helps.

    Raises:
        DamagedFileError: one line with the file, the problem and the remedy.
    """
    try:
        yield
    except OSError as error:
        where, reason = error.filename or path, error.strerror or str(error)
        raise DamagedFileError(f"{where}: cannot be read ({reason}); try: {remedy}") from None
    except (*WRONG_CONTENT, EOFError, csv.Error, yaml.YAMLError) as error:
        raise DamagedFileError(f"{path}: damaged ({problem(error)}); try: {remedy}") from error


def read_json(path: Path, remedy: str, form: Any = Any) -> Any:
    """The content of a JSON file, as it is.

    Args:
        path: the file.
        remedy: the command that helps where it is damaged.
        form: the type of its content, as pydantic checks it.

    Raises:
        DamagedFileError: it cannot be read, is no JSON, holds NaN or is of another form.
    """
    with damage_reported(path, remedy):
        content = json.loads(_text(path, LARGEST), parse_constant=_refuse_constant)
        TypeAdapter(form).validate_python(content)
    return content


def read_yaml(path: Path, remedy: str) -> dict[str, Any]:
    """The mapping that a YAML file holds, read without running code.

    Raises:
        DamagedFileError: it cannot be read, is no YAML of plain values, holds no mapping at its
            top, or repeats parts of itself (`*alias`) too often.
    """
    with damage_reported(path, remedy):
        loader = omegaconf_loader(_text(path, LARGEST_YAML))
        node = loader.get_single_node()
        if not isinstance(node, yaml.MappingNode):
            raise ValueError("no mapping of keys to values")
        _require_few(node)
        return loader.construct_document(node)


def require_finite_yaml(folder: Path) -> None:
    """Raise a `DamagedFileError` for a YAML file below a folder that repeats itself too often.

    Whatever else may be wrong is left to those who read it.
    """
    for path in sorted(folder.rglob("*.yaml")):
        with damage_reported(path, "without its aliases"), suppress(yaml.YAMLError, UnicodeError):
            node = omegaconf_loader(path.read_text(encoding="utf-8")).get_single_node()
            if node is not None:
                _require_few(node)


def _require_few(node: yaml.Node) -> None:
    if _size(node, {}) > MOST_NODES:
        raise ValueError(f"more than {MOST_NODES:,} values, with those that aliases repeat")


def read_table(path: Path, remedy: str) -> dict[str, list[str]]:
    """The columns of a CSV file by name; none where there is no file, or no row in it.

    Raises:
        DamagedFileError: it cannot be read, or is cut short.
    """
    if not path.is_file():
        return {}
    with damage_reported(path, remedy):
        text = _text(path, LARGEST)
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
        if not rows:
            raise ValueError("empty")
        if not text.endswith("\n"):
            raise ValueError(f"breaks off in line {len(rows)}")
        for number, row in enumerate(rows, start=1):
            if len(row) != len(rows[0]):
                raise ValueError(f"line {number} has {len(row)} cells, not {len(rows[0])}")
        return {name: [row[i] for row in rows[1:]] for i, name in enumerate(rows[0])}


def write_whole(path: Path, text: str) -> None:
    """Write a file in one move: if the disk is full, or a kill comes, the old one is still there.

    Raises:
        OSError: with the name of the file, which an error of the system may lack.
    """
    draft = path.with_name(f".{path.name}.part")
    try:
        if path.exists() and not path.is_file():  # a pipe or a terminal
            path.write_text(text, encoding="utf-8")
            return
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        with suppress(OSError):
            draft.unlink()
        raise type(error)(error.errno, error.strerror, str(path)) from None


def _text(path: Path, largest: int) -> str:
    size = path.stat().st_size
    if size > largest:
        raise ValueError(f"{size:,} bytes, which is more than {largest:,}")
    with path.open(encoding="utf-8", newline="") as file:
        text = file.read()
    if not text:
        raise ValueError("empty")
    return text


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a node has, each as often as aliases repeat it."""
    if isinstance(node, yaml.ScalarNode):
        return 1
    if id(node) not in known:
        known[id(node)] = MOST_NODES + 1  # where it holds itself
        pairs = isinstance(node, yaml.MappingNode)
        inner = [each for pair in node.value for each in pair] if pairs else node.value
        known[id(node)] = 1 + sum(_size(each, known) for each in inner)
    return known[id(node)]


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number of JSON")


def problem(error: Exception) -> str:
    """What is wrong, in a few words."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        return f"{where}: {first['msg']}" if where else first["msg"]
    if isinstance(error, RecursionError):
        return "nested too deep"
    if isinstance(error, UnicodeDecodeError):
        return f"no text: byte {error.start} is not UTF-8"
    if isinstance(error, KeyError):
        return f"no {error}"
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark
        line = f"line {mark.line + 1}: " if mark else ""
        return line + " ".join(str(error.problem).split())[:200]
    return " ".join(str(error).split())[:200] or type(error).__name__
