"""Mistakes across groups: those that each section of a config finds (`Section.mistakes`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from attnlab.config.schema import Config
from attnlab.config.section import Section
from attnlab.errors import Mistake


def broken_rules(config: Config) -> Iterator[Mistake]:
    """Mistakes that no single field shows."""
    for where, section in sections(config):
        for mistake in section.mistakes(config):
            of_section = mistake.where.startswith(".")
            key = (where + mistake.where).lstrip(".") if of_section else mistake.where
            yield Mistake(key, mistake.problem, mistake.hint)


def sections(value: Any, where: str = "") -> Iterator[tuple[str, Section]]:
    """A section and every section within it, each with its full key; the outermost has none."""
    if isinstance(value, Section):
        yield where, value
        inner = {name: getattr(value, name) for name in type(value).model_fields}
    elif isinstance(value, dict):
        inner = value
    else:
        return
    for name, each in inner.items():
        yield from sections(each, f"{where}.{name}" if where else str(name))
