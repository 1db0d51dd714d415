"""The two ways a command ends badly: a user's mistake (exit 2) and a run that failed (exit 1)."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


class UserError(Exception):
    """Something the user can mend; shown as it is, without a traceback, exit code 2."""

    exit_code = 2


class RunError(Exception):
    """A run that could not go on; shown with what to do next, exit code 1."""

    exit_code = 1


class InterruptedRunError(RunError):
    """Somebody asked the run to stop."""


class StopSignalError(InterruptedRunError):
    """A signal that ends a process arrived; nothing has been saved because of it."""


@dataclass(frozen=True)
class Mistake:
    """One wrong entry: where it stands, what was found, and what would have been right."""

    where: str  # the full config key, or file and row
    problem: str  # "unknown key", "3.5 is not an integer", ...
    hint: str = ""  # "did you mean 'additive'?", "allowed: ..."

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}" + (f"; {self.hint}" if self.hint else "")


class ConfigError(UserError):
    """Everything that is wrong with a config, at once."""

    def __init__(self, mistakes: Sequence[Mistake], next_command: str = "") -> None:
        self.mistakes = list(mistakes)
        self.next_command = next_command
        super().__init__(self._text())

    def _text(self) -> str:
        if len(self.mistakes) == 1:
            lines = [str(self.mistakes[0])]
        else:
            lines = [f"{len(self.mistakes)} mistakes:", *(f"  {m}" for m in self.mistakes)]
        if self.next_command:
            lines.append(f"  try: {self.next_command}")
        return "\n".join(lines)


def suggest(wrong: str, allowed: Iterable[str], show: int = 12) -> str:
    """The hint for a name that is not among the allowed: the nearest one, then the list.

    A list of more than `show` names is cut, the nearest first.
    """
    names = sorted(set(allowed))
    near = difflib.get_close_matches(wrong, names, n=1, cutoff=0.6)
    parts = [f"did you mean '{near[0]}'?"] if near else []
    if len(names) > show:
        nearest = difflib.get_close_matches(wrong, names, n=show, cutoff=0.0)
        parts.append(f"allowed: {', '.join(nearest)}, ... ({len(names)} in all)")
    elif names:
        parts.append(f"allowed: {', '.join(names)}")
    return " ".join(parts)
