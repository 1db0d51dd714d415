"""The files that HTML pages are made of, which lie beside the code."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files


def asset(name: str) -> str:
    """One of them, by its path below this package."""
    return (files("attnlab.report") / name).read_text(encoding="utf-8")


def filled(template: str, parts: Mapping[str, str]) -> str:
    """A template in which each {{name}} is replaced, in this order; the last may hold anything."""
    whole = asset(template)
    for name, part in parts.items():
        whole = whole.replace(f"{{{{{name}}}}}", part)
    return whole
