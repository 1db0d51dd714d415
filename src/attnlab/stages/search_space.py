"""`hparams.search`: the settings that a search tries, checked before it starts."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attnlab.config import compose
from attnlab.errors import ConfigError, Mistake, suggest
from attnlab.stages.sweep import quoted

if TYPE_CHECKING:
    from optuna.trial import Trial

FORMS = ({"choice"}, {"low", "high"}, {"low", "high", "log"}, {"low", "high", "step"})
Space = Mapping[str, Any]  # one entry: the range of one setting


def check_space(search: Mapping[str, Space], base: Sequence[str]) -> None:
    """Check every key, range and choice; raises a `ConfigError` with all mistakes."""
    mistakes = []
    for key, space in search.items():
        wrong = list(_wrong_form(f"hparams.search.{key}", space))
        mistakes += wrong or _wrong_values(key, space, base)
    if mistakes:
        raise ConfigError(mistakes, compose.NEXT_COMMAND)


def _wrong_form(where: str, space: Any) -> Iterator[Mistake]:
    """The mistakes in the form of an entry."""
    if not isinstance(space, dict) or set(space) not in FORMS:
        value = space if not isinstance(space, dict) else ", ".join(space) or "nothing"
        known = {key for form in FORMS for key in form}
        unknown = [key for key in space if key not in known] if isinstance(space, dict) else []
        hint = suggest(unknown[0], known) if unknown else ""
        forms = "a range is choice: [...] | low, high | low, high, log | low, high, step"
        yield Mistake(where, f"'{value}' is no range", f"{hint} {forms}".strip())
    elif "choice" in space:
        scalars = str | int | float | bool | None
        if not isinstance(space["choice"], list) or not space["choice"]:
            yield Mistake(f"{where}.choice", "needs a list with at least one value")
        elif not all(isinstance(value, scalars) for value in space["choice"]):
            yield Mistake(
                f"{where}.choice", "holds more than plain values", "name a group's option"
            )
    else:
        yield from _wrong_range(where, space)


def _wrong_range(where: str, space: Space) -> Iterator[Mistake]:
    numbers = {key: space[key] for key in ("low", "high", "step") if key in space}
    for key, value in numbers.items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value):
            yield Mistake(f"{where}.{key}", f"{value!r} is not a number", "write 1.0e-3, not 1e-3")
            return
    if numbers["low"] >= numbers["high"]:
        yield Mistake(where, f"low {numbers['low']} is not below high {numbers['high']}")
    if space.get("log") and numbers["low"] <= 0:
        yield Mistake(f"{where}.low", f"{numbers['low']} has no logarithm", "a low above 0")
    if numbers.get("step", 1) <= 0:
        yield Mistake(f"{where}.step", f"{numbers['step']} is not above 0")


def _wrong_values(key: str, space: Space, base: Sequence[str]) -> list[Mistake]:
    """The mistakes of the config at the ends of a range, or with each of the choices."""
    mistakes: dict[str, Mistake] = {}
    for value in space.get("choice") or (space["low"], space["high"]):
        try:
            compose.load(["~hparams", *base, override(key, value)])
        except ConfigError as error:
            mistakes |= {str(mistake): mistake for mistake in error.mistakes}
    return list(mistakes.values())


def override(key: str, value: Any) -> str:
    """A setting as an override of the command line."""
    if isinstance(value, str):
        plain = value.replace("_", "").isalnum()
        return f"{key}={value if plain else quoted(value)}"
    return f"{key}={json.dumps(value)}"


def suggest_value(trial: Trial, key: str, space: Space) -> Any:
    """A value for one setting, suggested by Optuna."""
    if "choice" in space:
        return trial.suggest_categorical(key, space["choice"])
    low, high, step = space["low"], space["high"], space.get("step")
    whole = all(isinstance(value, int) for value in (low, high, step or 1))
    if whole:
        return trial.suggest_int(key, low, high, step=step or 1, log=space.get("log", False))
    return trial.suggest_float(key, low, high, step=step, log=space.get("log", False))
