"""Heads whose maps are made of several maps."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attnlab.attention.heads.plain import Projected
from attnlab.attention.parts import Inputs


class Talking(Projected):
    """Heads mix linearly before and after the softmax (Shazeer et al. 2020, "Talking-Heads
    Attention")."""

    def __init__(self, inputs: Inputs, *, count: int) -> None:
        super().__init__(inputs, count=count, groups=count)
        eye = torch.eye(count)
        self.before = nn.Parameter(eye + 0.02 * torch.randn_like(eye))
        self.after = nn.Parameter(eye + 0.02 * torch.randn_like(eye))

    def mix_logits(self, logits: Tensor) -> Tensor:
        return _mix(logits, self.before)

    def mix_weights(self, weights: Tensor) -> Tensor:
        return _mix(weights, self.after)


class Differential(Projected):
    """A map minus lambda times another, each head normalized by itself (Ye et al. 2024,
    "Differential Transformer"). Weights may be negative.

    lambda = exp(a.b) - exp(c.d) + initial, with four learned vectors for all heads.
    """

    def __init__(self, inputs: Inputs, *, count: int, initial: float) -> None:
        super().__init__(inputs, count=count, groups=count, maps_per_head=2)
        self.initial = initial
        self.vectors = nn.Parameter(torch.randn(4, self.shape.query_width) * 0.1)
        self.scale = nn.Parameter(torch.ones(self.shape.value_width))

    @property
    def share(self) -> Tensor:
        """lambda: how much of the second map is taken off the first."""
        a, b, c, d = self.vectors
        return (a @ b).exp() - (c @ d).exp() + self.initial

    def mix_weights(self, weights: Tensor) -> Tensor:
        return self.mix_contexts(weights)

    def mix_contexts(self, contexts: Tensor) -> Tensor:
        return contexts[:, 0::2] - self.share.to(contexts.dtype) * contexts[:, 1::2]

    def merge(self, context: Tensor, query: Tensor) -> Tensor:
        scale = self.scale.to(context.dtype)
        normed = F.rms_norm(context, context.shape[-1:], scale, eps=1e-5)
        return super().merge(normed * (1 - self.initial), query)


def _mix(maps: Tensor, weight: Tensor) -> Tensor:
    """batch x maps x queries x keys, mixed over maps."""
    weight = weight.to(maps.dtype)
    if maps.is_cuda:  # where a convolution might be made in less than fp32
        return torch.einsum("bmqk,nm->bnqk", maps, weight)
    return F.conv2d(maps, weight[:, :, None, None])  # on a CPU three times faster than einsum
