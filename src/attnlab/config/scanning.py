"""Finds the schemas beside what they configure (`config.py`, `*_config.py`), and the YAML files."""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


@cache
def load_kinds() -> None:
    """Import every schema file of the package, each of which adds its kinds to their slots.

    Such a file imports nothing heavy: the config is checked before torch is imported.
    """
    for path in sorted(PACKAGE.rglob("*config.py")):
        if path.name == "config.py" or path.name.endswith("_config.py"):
            parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
            importlib.import_module(".".join(parts))


def config_dir() -> Path:
    """The folder of YAML files: `conf/` of the checkout, or the copy inside an installed wheel."""
    checkout = PACKAGE.parents[1] / "conf"
    return checkout if checkout.is_dir() else PACKAGE / "conf"
