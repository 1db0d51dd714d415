"""Which plugins of a run are imported: those that this user has used on this machine.

A run's folder may come from anybody, and its config names modules to import. They are imported if
the command names them itself (`plugins=[...]`), if this user has trained with the same files
before, or after `--trust`. `trusted_plugins.txt` in the user's own folder lists such files by
their hashes, in the form of `sha256sum`; a line that is deleted is trust taken back.
"""

from __future__ import annotations

import hashlib
import os
import sys
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

from attnlab.config.section import import_plugins, imported_plugins
from attnlab.data.integrity import PACKAGE, dependencies, file_hash
from attnlab.errors import UserError

FILE = "trusted_plugins.txt"


def add_option(parser: ArgumentParser) -> None:
    """`--trust`, of commands that open a run."""
    text = "import the plugins that the run's config names, whoever wrote them"
    parser.add_argument("--trust", action="store_true", help=text)


def own_folder() -> Path:
    """The folder of this user's settings: $ATTNLAB_HOME, or attnlab in that of all programs."""
    home = os.environ.get("ATTNLAB_HOME")
    config = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) if home else Path(config) / "attnlab"


def import_plugins_of(
    folder: Path, plugins: Any, recorded: Mapping[str, str], trust: bool = False
) -> None:
    """Import what a run's config names as its plugins, if it may be.

    Args:
        folder: the run.
        plugins: the value of its key; one that is no list of names is left to the schema.
        recorded: the hash of each plugin when the run was trained, as `hash_of` has it.
        trust: whether the user said `--trust`.

    Raises:
        UserError: a plugin is not trusted; nothing was imported.
    """
    if not isinstance(plugins, list) or not all(isinstance(name, str) for name in plugins):
        return
    known = imported_plugins()
    for name in plugins:
        lines = _lines(name)
        changed = recorded.get(name, "") not in ("", _one_hash(lines))
        if name not in known and not trust and not _are_trusted(lines):
            raise UserError(_refusal(folder, name, changed))
        if changed:
            print(f"{folder}: plugin '{name}' has changed since this run", file=sys.stderr)
    import_plugins(plugins)
    if trust:
        remember(plugins)


def remember(plugins: Iterable[str]) -> dict[str, str]:
    """Trust these plugins as they are from now on; returns the hash of each."""
    lines = {name: _lines(name) for name in plugins}
    found = dict.fromkeys(line for each in lines.values() for line in each)
    known = _trusted_lines() if found else set()
    if new := [line for line in found if line not in known]:
        path = own_folder() / FILE
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.touch(0o600)
            with path.open("a", encoding="utf-8") as file:
                file.write("".join(f"{line}\n" for line in new))
        except OSError as error:
            why = f"cannot write {path} ({error.strerror})"
            print(f"plugins: {why}; runs with them will ask for --trust", file=sys.stderr)
    return {name: _one_hash(each) for name, each in lines.items()}


def hash_of(plugin: str) -> str:
    """One hash of a plugin and the files beside it that it imports; "" if they cannot be found."""
    return _one_hash(_lines(plugin))


def _one_hash(lines: Iterable[str]) -> str:
    hashes = [line.split()[0] for line in lines]
    return hashlib.sha256(" ".join(hashes).encode()).hexdigest() if hashes else ""


def files_of(plugin: str) -> list[Path]:
    """The plugin, the packages around it, and the files beside it that it imports.

    Nothing is imported to find them. A module that Python would not read from its source has none.
    """
    found: dict[str, Path] = {}
    names, more = set(), _with_packages([plugin])
    with _here_first():
        try:
            while names != more:
                names = more
                found = dependencies(names, without=(PACKAGE,))
                more = names | _with_packages(found)
        except (OSError, SyntaxError, ValueError, RecursionError):
            return []
    files = {path.resolve() for path in found.values()}
    compiled = any(p.with_suffix(s).exists() for p in files for s in EXTENSION_SUFFIXES)
    return sorted(files) if plugin in found and not compiled else []


@contextmanager
def _here_first() -> Iterator[None]:
    """Look for modules where `import_plugins` does: in the folder of the command, too."""
    before = list(sys.path)
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        yield
    finally:
        sys.path[:] = before


def _with_packages(modules: Iterable[str]) -> set[str]:
    """`a.b` brings `a`, which runs first when it is imported."""
    parts = [name.split(".") for name in modules]
    return {".".join(each[:count]) for each in parts for count in range(1, len(each) + 1)}


def _lines(plugin: str) -> list[str]:
    """The lines of the list that trust a plugin: the hash and the path of each file."""
    return [f"{file_hash(path)}  {path}" for path in files_of(plugin)]


def _are_trusted(lines: Sequence[str]) -> bool:
    return bool(lines) and _trusted_lines().issuperset(lines)


def _trusted_lines() -> set[str]:
    """The lines of the user's list; one that others can write to is none."""
    path = own_folder() / FILE
    try:
        state = path.stat()
        if state.st_uid == os.geteuid() and not state.st_mode & 0o022:
            return set(path.read_text(encoding="utf-8").splitlines())
        print(f"{path}: not used, others can write to it; try: chmod 600 {path}", file=sys.stderr)
    except OSError:
        pass
    return set()


def _refusal(folder: Path, plugin: str, changed: bool) -> str:
    files = files_of(plugin)
    where = f" ({files[0]})" if len(files) == 1 else ""
    news = ", which has changed since," if changed else ""
    return (
        f"{folder}: its config names the plugin '{plugin}'{where}{news} that you have not trained "
        "with on this machine; it is not imported\n  try: read it, then add --trust, or "
        f"plugins=[{plugin}] to a command of train.py"
    )
