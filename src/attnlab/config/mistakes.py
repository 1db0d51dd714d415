"""Every failure of composing and checking as a `Mistake`: its full key, and what would be right."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.errors import (
    ConfigCompositionException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from pydantic_core import ErrorDetails

from attnlab.config.schema import Config
from attnlab.config.section import SHARED, Section, Variant, config_dir
from attnlab.errors import Mistake, suggest

MISSING = "missing"  # the problem of a key that is not there


def from_composition(error: Exception, folder: Path | None) -> Mistake:
    """Hydra's own error in one line."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, option = str(error.missing_cfg_file).rpartition("/")
        found = error.options or ((folder or config_dir()) / group).glob("*.yaml")
        # Of a list of options Hydra names none.
        options = [stem for stem in (Path(each).stem for each in found) if stem != SHARED]
        return Mistake(group or option, f"no option '{option}'", suggest(option, options))
    if isinstance(error, OverrideParseException):
        return Mistake(error.override, "not of the form key=value", "quote values with , [ ] { }")
    if isinstance(error, yaml.YAMLError):
        mark = getattr(error, "problem_mark", None)
        location = f"{mark.name}, line {mark.line + 1}" if mark else "YAML"
        return Mistake(location, getattr(error, "problem", None) or str(error))
    cause = error.__cause__
    if isinstance(error, ConfigCompositionException) and isinstance(cause, OmegaConfBaseException):
        return from_omegaconf(cause, folder)
    return Mistake("config", " ".join(str(error).split()))


def from_omegaconf(error: OmegaConfBaseException, folder: Path | None = None) -> Mistake:
    key = error.full_key or "config"
    problem = " ".join((error.msg or str(error)).split(" full_key:")[0].splitlines()[0].split())
    if "is not in struct" in problem:
        groups = [p.name for p in (folder or config_dir()).iterdir() if p.is_dir()]
        parent: Any = error.parent_node
        beside = [*map(str, parent)] if isinstance(parent, DictConfig) else []
        section, _, leaf = key.rpartition(".")
        hint = _suggest_key(key, beside if section else groups)
        if "kind" in beside:
            hint = f"{suggest(leaf, beside)}; {_of_another_kind(section, leaf, groups)}"
        return Mistake(key, "unknown key", hint)
    return Mistake(key, problem)


def _of_another_kind(section: str, leaf: str, groups: Sequence[str]) -> str:
    """How a section is set that has this key: by an option, or as a whole."""
    slot = _section_at(section.split("."), {})
    variants = slot.kinds() if slot and issubclass(slot, Variant) else {}
    kinds = [kind for kind, each in variants.items() if leaf in each.model_fields]
    if kinds and section in groups:
        return f"a key of {section}={' | '.join(kinds)}"
    # A mapping on the command line is laid over the one that is there.
    return (
        f"of another kind: '++{section}={{kind: {kinds[0] if kinds else 'KIND'}, {leaf}: VALUE}}'"
    )


def mistake_from(details: ErrorDetails, plain: dict[str, Any]) -> Mistake:
    """What pydantic found wrong with plain values, as a line for the user."""
    path = [str(part) for part in details["loc"]]
    key, value, context = ".".join(path), details["input"], details.get("ctx", {})
    if details["type"] == "extra_forbidden":
        return Mistake(key, "unknown key", _suggest_key(key, (), plain))
    if details["type"] == "missing":
        return Mistake(key, MISSING)
    if details["type"] in ("unknown_kind", "no_kind"):
        kind, allowed = str(context.get("kind", "")), context["allowed"]
        problem = f"unknown kind '{kind}'" if kind else "no kind given"
        return Mistake(f"{key}.kind", problem, suggest(kind, allowed))
    if details["type"] == "literal_error":
        allowed = [
            option.strip("'") for option in context["expected"].replace(" or ", ", ").split(", ")
        ]
        return Mistake(key, f"{value!r} is not allowed", suggest(str(value), allowed))
    if details["type"] == "value_error":  # of a whole section, whose own words say what is wrong
        return Mistake(key, details["msg"].removeprefix("Value error, "))
    problem, hint = f"{value!r} is not allowed", details["msg"].removeprefix("Input ")
    section = _section_at(path[:-1], plain)
    if value is None and section and path[-1] in section.model_fields:
        problem, hint = "has to be given", section.model_fields[path[-1]].description or ""
    return Mistake(key, problem, hint)


def _suggest_key(key: str, beside: Sequence[str] = (), plain: dict | None = None) -> str:
    """The nearest sibling of a wrong key, or the same last word anywhere else in the config."""
    parent, _, leaf = key.rpartition(".")
    section = _section_at(parent.split(".") if parent else [], plain or {})
    siblings = list(section.model_fields) if section else []
    if leaf in siblings:
        return f"{parent} is null; try: +{key}=VALUE"
    hint = suggest(leaf, [*siblings, *map(str, beside)])
    if "did you mean" in hint:
        return hint
    elsewhere = [k for k in _all_keys(Config) if k.split(".")[-1] == leaf]
    return f"did you mean '{elsewhere[0]}'? {hint}" if elsewhere else hint


def _section_at(path: Sequence[str], plain: Any) -> type[Section] | None:
    """The section at a path; the kind in `plain` selects among variants."""
    section: type[Section] | None = Config
    for part in path:
        plain = plain.get(part, {}) if isinstance(plain, dict) else {}
        field = section.model_fields.get(part) if section else None
        section = _section_of(field.annotation) if field else None
        if section and issubclass(section, Variant):
            section = section.kinds().get(str(plain.get("kind", "")), section)
    return section


def _section_of(annotation: Any) -> type[Section] | None:
    options = (
        typing.get_args(annotation) if isinstance(annotation, types.UnionType) else [annotation]
    )
    sections = [o for o in options if isinstance(o, type) and issubclass(o, Section)]
    return sections[0] if sections else None


def _all_keys(section: type[Section], prefix: str = "") -> Iterator[str]:
    for name, field in section.model_fields.items():
        yield prefix + name
        inner = _section_of(field.annotation)
        if inner:
            yield from _all_keys(inner, f"{prefix}{name}.")
