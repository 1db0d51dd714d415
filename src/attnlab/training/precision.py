"""Recurrent layers under bf16 autocast, on CPUs that have no bf16 instructions."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import nn


@cache
def cpu_has_bf16_recurrence() -> bool:
    """Whether oneDNN has a bf16 LSTM on this CPU; it has none with AVX2 alone."""
    layer = nn.LSTM(8, 8)
    try:
        with torch.autocast("cpu", torch.bfloat16), torch.random.fork_rng():
            output, _ = layer(torch.zeros(2, 1, 8))
            output.sum().backward()
    except RuntimeError:
        return False
    return True


class _InFullPrecision:
    """Mixed into a recurrent layer whose input may be bf16 and whose arithmetic is fp32."""

    def forward(self, input: Any, hx: Any = None) -> Any:  # noqa: A002 - torch's name
        with torch.autocast("cpu", enabled=False):
            states = tuple(each.float() for each in hx) if isinstance(hx, tuple) else hx
            states = states.float() if isinstance(states, torch.Tensor) else states
            return super().forward(input.float(), states)  # type: ignore[misc]


class FullPrecisionLSTM(_InFullPrecision, nn.LSTM):
    """An LSTM that computes in fp32 under autocast."""


class FullPrecisionGRU(_InFullPrecision, nn.GRU):
    """A GRU that computes in fp32 under autocast."""


def keep_recurrent_in_fp32(model: nn.Module) -> None:
    """Let the recurrent layers of a model compute in fp32 under autocast, in place."""
    for module in model.modules():
        if type(module) is nn.LSTM:
            module.__class__ = FullPrecisionLSTM
        elif type(module) is nn.GRU:
            module.__class__ = FullPrecisionGRU
