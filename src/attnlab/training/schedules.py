"""Learning-rate schedules: a factor for every step, rising linearly over the warm-up."""

from __future__ import annotations

import math
from collections.abc import Callable

Factor = Callable[[int], float]


def constant(total_steps: int, *, warmup_steps: int) -> Factor:
    """Stays at one."""
    return lambda step: _warmup(step, warmup_steps)


def cosine(total_steps: int, *, warmup_steps: int, floor: float) -> Factor:
    """Half a cosine from one to `floor` (Loshchilov & Hutter 2017)."""

    def factor(step: int) -> float:
        share = min(max(step - warmup_steps, 0) / max(total_steps - warmup_steps, 1), 1.0)
        height = floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * share))
        return _warmup(step, warmup_steps) * height

    return factor


def inverse_sqrt(total_steps: int, *, warmup_steps: int) -> Factor:
    """Falls with the square root of the step (Vaswani et al. 2017)."""

    def factor(step: int) -> float:
        fall = math.sqrt(max(warmup_steps, 1) / max(step + 1, warmup_steps, 1))
        return _warmup(step, warmup_steps) * fall

    return factor


def _warmup(step: int, warmup_steps: int) -> float:
    return min((step + 1) / warmup_steps, 1.0) if warmup_steps else 1.0
