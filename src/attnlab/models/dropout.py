"""Dropout of activations, four times as fast as PyTorch's on a CPU, and of units."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from attnlab.data.vocabulary import SPECIAL, UNKNOWN

STEPS = 2**16  # of the probability: each activation gets sixteen random bits


class Dropout(nn.Dropout):
    """Zeroes activations at random while training (Srivastava et al. 2014).

    PyTorch draws a number for each activation, an eighth of the time of a small Transformer's step
    on a CPU. Here one draw of 64 bits serves four activations.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - as PyTorch has it
        if input.device.type != "cpu" or not self.training or not self.p:
            return super().forward(input)
        return input * kept(input, self.p)


class UnitDropout(nn.Module):
    """Replaces some units by the unknown one while training, whose vector is so learned.

    (Word dropout, Iyyer et al. 2015, Kiperwasser & Goldberg 2016; of a decoder's input, Bowman et
    al. 2016.) Special units stay.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, units: Tensor) -> Tensor:
        """Units of any shape."""
        if not (self.training and self.p):
            return units
        hidden = torch.rand(units.shape, device=units.device) < self.p
        return units.masked_fill(hidden & (units >= len(SPECIAL)), UNKNOWN)


def kept(states: Tensor, p: float) -> Tensor:
    """Factors in the shape of `states`: zero with probability `p` (to 1 in 65,536), mean one."""
    draws = torch.empty(-(-states.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    bits = draws.view(torch.int16)[: states.numel()].view(states.shape)
    dropped = round(p * STEPS)
    keep = bits >= dropped - STEPS // 2
    return keep.to(states.dtype) * (STEPS / (STEPS - dropped))
