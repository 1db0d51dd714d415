"""One map over values whose channels are weighed first."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from attnlab.attention.heads.plain import One
from attnlab.attention.parts import Inputs


class ChannelGate(One):
    """Values times a gate for each channel, which a small network sets from their mean over all
    keys (Hu, Shen, Sun 2018, "Squeeze-and-Excitation Networks"), and from their maximum as well
    (Woo et al. 2018, "CBAM", the channel half).

    The gate sees all keys at once: it serves pictures and pooling, not generation.
    """

    def __init__(self, inputs: Inputs, *, reduction: int, maximum: bool) -> None:
        super().__init__(inputs)
        self.maximum = maximum
        narrow = max(1, inputs.value_dim // reduction)
        self.network = nn.Sequential(
            nn.Linear(inputs.value_dim, narrow), nn.ReLU(), nn.Linear(narrow, inputs.value_dim)
        )

    def project_value(self, value: Tensor, mask: Tensor | None) -> Tensor:
        return super().project_value(value * self.gate(value, mask)[:, None], mask)

    def gate(self, value: Tensor, valid: Tensor | None) -> Tensor:
        """batch x channels, from batch x keys x channels: how much of each channel passes."""
        if valid is None:
            valid = torch.ones(value.shape[:2], dtype=torch.bool, device=value.device)
        real = valid[:, :, None]
        count = real.sum(1).clamp_min(1).to(value.dtype)
        energy = self.network(value.masked_fill(~real, 0).sum(1) / count)
        if self.maximum:
            lowest = torch.finfo(value.dtype).min
            highest = value.masked_fill(~real, lowest).amax(1)
            there = valid.any(1, keepdim=True)
            energy = energy + self.network(highest.masked_fill(~there, 0))
        return energy.sigmoid()
