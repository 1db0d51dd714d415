"""Names that have changed: old configs, commands and checkpoints are read with the new ones.

A key or a parameter that gets another name gets a line in one of the tables below. A name may
change again: each table is applied from top to bottom.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar

Value = TypeVar("Value")
Path = tuple[str, ...]

# Old dotted key -> new one, with all that stands below it; `*` is any one name, and stays.
RENAMED_KEYS = {
    "dataset.looks_at": "dataset.attended",
    "task.counts_as": "task.merge_labels",
    "objective.attention": "objective.terms.attention",
    "objective.extra": "objective.terms",
    "trainer.ema": "trainer.callbacks.ema",
    "trainer.early_stopping": "trainer.callbacks.early_stopping",
    "objective.terms.*.on": "objective.terms.*.site",
    "dataset.looks": "dataset.hops",
    "task.hidden": "task.mask_share",
    "logger.wandb": "logger.loggers.wandb.mode",
    "logger.entity": "logger.loggers.wandb.entity",
    "model.freeze": "model.tuning.kind",
}
# Old config group -> new one, as in `dataset/vectors=counted`.
RENAMED_GROUPS: dict[str, str] = {
    "objective/attention": "objective/terms/attention",
    "objective/attention/schedule": "objective/terms/attention/schedule",
}
# New key or group -> its old values (kinds, options) -> new ones.
RENAMED_VALUES: dict[str, dict[str, str]] = {
    "task.learn": {
        "every_place": "every_position",
        "hidden_places": "masked_positions",
        "hidden_positions": "masked_positions",
    },
    "model.tuning.kind": {"nothing": "full", "embeddings": "layers", "everything": "head"},
}
# Keys that are no more: (section, its kind if it has any) -> their names.
REMOVED_KEYS = {("task", "attend"): ("label_smoothing",), ("logger", None): ("name",)}
# What a parameter's name held, as a regular expression, -> what stands there now.
RENAMED_PARAMETERS = {
    r"\breader\.fronts\.": "reader.embedders.",
    r"\.bend\.": ".mlp.",
    r"\bplaces\.": "positions.",  # of embeddings
    r"\bmoved\.": "project.",  # of learned queries
    r"\bposition\.content$": "position.content_bias",  # Transformer-XL
    r"\bposition\.place$": "position.position_bias",
    r"\bstructure\.place$": "structure.center",  # local-p
    r"^baseline\.": "terms.reinforce.baseline.",
    r"\bhearing\.": "ctc.",
    r"\bpooling\.moves\.": "pooling.updates.",
    r"\b(rounds\.\d+)\.told\.": r"\1.self_attention.",  # of boxes
    r"\b(rounds\.\d+)\.look\.": r"\1.cross_attention.",
    r"\b(rounds\.\d+)\.think\.": r"\1.mlp.",
    r"\b(steps\.\d+)\.known\.": r"\1.project.",  # of pixels
    r"\b(steps\.\d+\.gate)\.asked\.": r"\1.query.",
    r"\b(steps\.\d+\.gate)\.seen\.": r"\1.key.",
    r"\bencoder\.mark$": "encoder.mask_vector",  # of masked items
}


def migrated(plain: Mapping[str, Any]) -> dict[str, Any]:
    """A config with today's names; a line on stderr says which have changed.

    Where an old name and its new one are both there, the old one is what somebody set.
    """
    same: dict[Path, Any] = {}
    changed: dict[Path, Any] = {}
    for path, value in _leaves(_without_removed(plain)):
        new_path = _migrated_path(path)
        new_value = _migrated_value(".".join(map(str, new_path)), value)
        (same if new_path == path else changed)[new_path] = new_value
        if new_path != path:
            _say(*_renamed_part(path))
        elif new_value is not value:  # not `!=`, which NaN always is
            _say(f"{'.'.join(map(str, path))}={value}", str(new_value))
    new: dict[str, Any] = {}
    for path, value in (same | changed).items():
        _put(new, path, value)
    return new


def migrated_overrides(overrides: Sequence[str]) -> list[str]:
    """Overrides of the command line with today's names; stderr says which have changed."""
    new = [_migrated_override(override) for override in overrides]
    for before, after in zip(overrides, new, strict=True):
        if before != after:
            _say(before, after)
    return new


def migrated_parameters(state: Mapping[str, Value]) -> dict[str, Value]:
    """The state of a model under the names that its parameters have today."""
    return {_migrated_parameter(name): value for name, value in state.items()}


def completed(old: dict[str, Any], today: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """A config with the keys that came after it, as `today` has them, and which those are."""
    added: list[str] = []
    return _filled(old, today, "", added), added


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


def _without_removed(plain: Mapping[str, Any]) -> dict[str, Any]:
    kept = dict(plain)
    for (section, kind), names in REMOVED_KEYS.items():
        inner = kept.get(section)
        if isinstance(inner, Mapping) and inner.get("kind") == kind:
            kept[section] = {key: value for key, value in inner.items() if key not in names}
    return kept


def _migrated_path(path: Path) -> Path:
    for old, new in RENAMED_KEYS.items():
        pattern = old.split(".")
        if len(path) < len(pattern):
            continue
        if all(part in ("*", name) for name, part in zip(path, pattern, strict=False)):
            stars = (name for name, part in zip(path, pattern, strict=False) if part == "*")
            start = (next(stars) if part == "*" else part for part in new.split("."))
            path = (*start, *path[len(pattern) :])
    return path


def _migrated_value(key: str, value: Any) -> Any:
    return RENAMED_VALUES.get(key, {}).get(value, value) if isinstance(value, str) else value


def _migrated_override(override: str) -> str:
    """`+key=value`, `~key`, `group=option` or `group@key=option` with today's names."""
    parts = re.fullmatch(r"(\+\+|\+|~)?([^=@]+)(?:@([^=]+))?(?:(=)(.*))?", override, re.DOTALL)
    if parts is None:
        return override
    sign, key, package, equals, value = (part or "" for part in parts.groups())
    if "/" in key:
        new = RENAMED_GROUPS.get(key, key)
    else:
        new = ".".join(_migrated_path(tuple(key.split("."))))
    if package:
        package = "@" + ".".join(_migrated_path(tuple(package.split("."))))
    return f"{sign}{new}{package}{equals}{_migrated_value(new, value)}"


def _migrated_parameter(name: str) -> str:
    for old, new in RENAMED_PARAMETERS.items():
        name = re.sub(old, new, name)
    return name


@cache
def _say(before: str, after: str) -> None:
    """Once for each name, however often a config is composed."""
    print(f"attnlab: {before} is now {after}", file=sys.stderr)


def _renamed_part(path: Path) -> tuple[str, str]:
    """The old and the new name of the section or value that a changed key stands in."""
    starts = (path[: length + 1] for length in range(len(path)))
    changed = next(start for start in starts if _migrated_path(start) != start)
    return ".".join(map(str, changed)), ".".join(map(str, _migrated_path(changed)))


def _leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every value of a config with its key; an empty section is a value."""
    if isinstance(value, Mapping) and (value or not path):
        for name, each in value.items():
            yield from _leaves(each, (*path, name))
    else:
        yield path, value


def _put(plain: dict[str, Any], path: Path, value: Any) -> None:
    for name in path[:-1]:
        if not isinstance(plain.get(name), dict):
            plain[name] = {}
        plain = plain[name]
    if value != {} or not isinstance(plain.get(path[-1]), dict):  # nothing hides what is there
        plain[path[-1]] = value
