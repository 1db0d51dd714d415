"""Attention that never goes back."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attnlab.attention.parts import Normalizer, Past, Shape


class Monotonic(Normalizer):
    """Going on from where the last query stopped, stop at key j with chance p_j = sigmoid(s_j)
    (Raffel et al. 2017, "Online and Linear-Time Attention by Enforcing Monotonic Alignments").

    weights_j = p_j sum_{l <= j} previous_l prod_{l <= m < j} (1 - p_m). The products are
    exp of differences of sums of logarithms, a keys x keys matrix for each query: exact where the
    usual quotient of cumulative products underflows. A query may stop nowhere, so that rows can
    sum to less than one.
    """

    def __init__(self, shape: Shape, *, noise: float, bias: float) -> None:
        super().__init__(shape)
        self.noise = noise
        self.bias = nn.Parameter(torch.full((shape.maps, 1, 1), bias))

    def step(self, logits: Tensor, allowed: Tensor | None, past: Past) -> Tensor:
        biased = logits + self.bias.to(logits.dtype)  # batch x maps x 1 x keys
        if self.training and self.noise:
            biased = biased + self.noise * torch.randn_like(biased)
        stop, go_on = biased.sigmoid(), F.logsigmoid(-biased)
        if allowed is not None:
            stop, go_on = stop.masked_fill(~allowed, 0), go_on.masked_fill(~allowed, 0)
        before = go_on.cumsum(-1) - go_on  # log of the chance to pass all keys before this
        passed = before.unsqueeze(-2) - before.unsqueeze(-1)  # b x maps x 1 x from x to
        forward = torch.ones_like(passed, dtype=torch.bool).triu()
        passed = passed.masked_fill(~forward, float("-inf")).exp()
        arrived = (_previous(logits, allowed, past).unsqueeze(-2) @ passed).squeeze(-2)
        return stop * arrived


def _previous(logits: Tensor, allowed: Tensor | None, past: Past) -> Tensor:
    """Where the last query stopped; before the first, at the first key there is."""
    if past.steps:
        return past.previous.unsqueeze(2).to(logits.dtype)
    first = torch.zeros_like(logits)
    if allowed is None:
        first[..., 0] = 1
        return first
    index = allowed.expand(logits.shape).int().argmax(-1, keepdim=True)
    return first.scatter(-1, index, 1.0)
