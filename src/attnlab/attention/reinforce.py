"""What trains attention that draws its keys.

with Tap(model, "decoder.cross.0") as tap:
    loss_per_example = ...                       # batch, the task's loss with drawn keys
loss = loss_per_example.mean() + reinforce_loss(tap, -loss_per_example, baseline)
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from attnlab.attention.probes.tap import Tap


class Baseline(Protocol):
    """What reward was to be expected, whatever was drawn; it is subtracted to lower variance."""

    def __call__(self, reward: Tensor) -> Tensor: ...


class MovingBaseline(nn.Module):
    """The running mean of the reward (Xu et al. 2015, section 4.1)."""

    mean: Tensor
    started: Tensor

    def __init__(self, momentum: float = 0.9) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("started", torch.zeros((), dtype=torch.bool))

    def forward(self, reward: Tensor) -> Tensor:
        now = reward.detach().mean().to(self.mean)
        if self.training:
            mixed = torch.lerp(now, self.mean, self.momentum)
            self.mean.copy_(torch.where(self.started, mixed, now))
            self.started.fill_(True)
        return torch.where(self.started, self.mean, now)


def log_probability(tap: Tap, query_mask: Tensor | None = None) -> Tensor:
    """batch: the log probability of all keys drawn while tapped, over heads and queries.

    `query_mask` (batch x queries) says which queries count.
    """
    used = tap.used().detach()
    chosen = (used * tap.log_weights()).sum(-1)  # batch x heads x queries
    if query_mask is not None:
        chosen = chosen * query_mask[:, None].to(chosen.dtype)
    return chosen.sum((1, 2))


def reinforce_loss(
    tap: Tap, reward: Tensor, baseline: Baseline, query_mask: Tensor | None = None
) -> Tensor:
    """-(reward - baseline) log p(drawn), whose gradient is that of the expected reward.

    `reward` (batch) is higher where what was drawn served better.
    """
    reward = reward.detach()
    return -((reward - baseline(reward)) * log_probability(tap, query_mask)).mean()
