"""Finds what can be configured: schemas of the package, installed packages, users' files, YAML.

The package's schemas stand beside what they configure, in files named `config.py` or
`*_config.py`. Packages register theirs when the modules of their entry points `attnlab.plugins`
are imported, and a user's files when the modules that the config names as `plugins` are.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
import traceback
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from attnlab.errors import UserError

PACKAGE = Path(__file__).resolve().parents[1]
ENTRY_POINTS = "attnlab.plugins"


@cache
def load_kinds() -> None:
    """Import every schema file of the package, then the plugins of installed packages.

    A schema file imports nothing heavy: the config is checked before torch is imported.
    """
    for path in sorted(PACKAGE.rglob("*config.py")):
        if path.name == "config.py" or path.name.endswith("_config.py"):
            parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
            importlib.import_module(".".join(parts))
    for point in importlib.metadata.entry_points(group=ENTRY_POINTS):
        package = point.dist.name if point.dist else "an installed package"
        _import(point.module, f"plugin '{point.name}' of {package}", "installed")


def import_plugins(modules: Sequence[str]) -> None:
    """Import the user's modules; the folder that the command was started in counts."""
    if modules and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    for name in modules:
        _import(name, "plugins", f"in {Path.cwd()} or installed")


def _import(name: str, whose: str, where: str) -> None:
    try:
        importlib.import_module(name)
    except UserError as error:
        raise UserError(f"{whose}: {name}: {error}") from None
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name == name.split(".", maxsplit=1)[0]:
            raise UserError(f"{whose}: no module '{name}' {where}") from None
        place = traceback.extract_tb(error.__traceback__)[-1]
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        line = f"{place.filename}, line {place.lineno}"
        raise UserError(f"{whose}: cannot import '{name}': {reason} ({line})") from error


def config_dir() -> Path:
    """The folder of YAML files: `conf/` of the checkout, or the copy inside an installed wheel."""
    checkout = PACKAGE.parents[1] / "conf"
    return checkout if checkout.is_dir() else PACKAGE / "conf"
