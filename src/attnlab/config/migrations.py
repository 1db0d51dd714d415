"""Configs that were written before a key existed: the key is read as `conf/` has it now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attnlab.config.compose import COMPOSITION_ERRORS, compose, resolve
from attnlab.errors import ConfigError


def completed(plain: dict[str, Any], overrides: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """A config with the keys that came after it, and which those are.

    `overrides` are those that it was composed from; where they mean nothing any more, it stays
    as it is.
    """
    try:
        today = resolve(compose(overrides))
    except (*COMPOSITION_ERRORS, ConfigError):
        return plain, []
    added: list[str] = []
    return _filled(plain, today, "", added), added


def _filled(
    old: dict[str, Any], today: dict[str, Any], prefix: str, added: list[str]
) -> dict[str, Any]:
    """What is there stays; what is of another kind today has other keys, and is left alone."""
    if old.get("kind") != today.get("kind"):
        return old
    filled = dict(old)
    for key, value in today.items():
        if key not in old:
            filled[key] = value
            added.append(f"{prefix}{key}")
        elif isinstance(value, dict) and isinstance(old[key], dict):
            filled[key] = _filled(old[key], value, f"{prefix}{key}.", added)
    return filled
