"""`Finding`: a figure of one test, with its verdict in a sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from attnlab.explain.agreement import interval_of
from attnlab.metrics.intervals import Interval

UNKNOWN = Interval(math.nan, math.nan, math.nan)
LITTLE, MUCH = 0.05, 0.5  # shares of changed answers between which the map takes part


@dataclass(frozen=True)
class Finding:
    """One figure of one test, over all examples."""

    test: str
    figure: str
    value: Interval
    verdict: str = ""  # of the test, beside the first of its figures
    known: dict[str, float] = field(default_factory=dict)  # the same figure for controls and limits
    undefined: int = 0  # decisions without such a figure


def over_examples(values: Sequence[Tensor]) -> Interval:
    """The mean over examples with its interval, from one tensor (examples) for each batch."""
    return interval_of(torch.cat(list(values)).double().tolist())


def who_decides(share: float) -> str:
    """The verdict on a share of changed answers."""
    if share < LITTLE:
        return "the attention is not what decides"
    if share < MUCH:
        return "the attention takes part in the decision"
    return "the attention decides"


def percent(share: float) -> str:
    """A share in percent."""
    return f"{100 * share:.0f}%" if share == 0 or share >= 0.01 else f"{100 * share:.1f}%"
