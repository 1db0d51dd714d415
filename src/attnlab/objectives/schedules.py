"""How much an objective weighs at a training step: factors between 0 and 1."""

from __future__ import annotations

from typing import Protocol


class Schedule(Protocol):
    def at(self, step: int) -> float:
        """The factor at this training step, the first being 0."""
        ...


class Constant:
    def at(self, step: int) -> float:
        return 1.0


class Warmup:
    def __init__(self, *, steps: int) -> None:
        self.steps = steps

    def at(self, step: int) -> float:
        return min(1.0, (step + 1) / self.steps)


class Decay:
    def __init__(self, *, start: int, steps: int, final: float) -> None:
        self.start, self.steps, self.final = start, steps, final

    def at(self, step: int) -> float:
        gone = min(1.0, max(0.0, (step - self.start) / self.steps))
        return 1.0 - gone * (1.0 - self.final)
