"""How many maps there are, and what they share."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attnlab.attention.parts import Heads, Inputs, Shape
from attnlab.errors import UserError


class One(Heads):
    """One map over the inputs as they are: the context is as wide as the values."""

    def __init__(self, inputs: Inputs) -> None:
        super().__init__(inputs)
        if inputs.output_dim not in (None, inputs.value_dim):
            raise UserError(
                f"attention/heads=one gives contexts of the values' width {inputs.value_dim}, "
                f"where {inputs.output_dim} is wanted; attention/heads=multi projects"
            )
        self.count = 1
        self.output_dim = inputs.value_dim
        self.shape = Shape(inputs, 1, 1, inputs.query_dim, inputs.key_dim, inputs.value_dim)

    def project_query(self, query: Tensor) -> Tensor:
        return query.unsqueeze(1)

    def project_key(self, key: Tensor) -> Tensor:
        return key.unsqueeze(1)

    def project_value(self, value: Tensor, mask: Tensor | None) -> Tensor:
        return value.unsqueeze(1)

    def merge(self, context: Tensor, query: Tensor) -> Tensor:
        return context.squeeze(1)


class Projected(Heads):
    """Linear maps in and out; `groups` sets of keys and values serve `count` heads."""

    def __init__(
        self,
        inputs: Inputs,
        *,
        count: int,
        groups: int,
        maps_per_head: int = 1,
    ) -> None:
        super().__init__(inputs)
        self.count, self.groups = count, groups
        maps = count * maps_per_head
        width = inputs.query_dim // maps
        _check_division(inputs.query_dim, maps, count, groups)
        self.output_dim = inputs.output_dim or inputs.query_dim
        self.shape = Shape(
            inputs, maps, groups * maps_per_head, width, width, width * maps_per_head
        )
        self.query = nn.Linear(inputs.query_dim, maps * width)
        self.key = nn.Linear(inputs.key_dim, self.shape.key_maps * width)
        self.value = nn.Linear(inputs.value_dim, groups * self.shape.value_width)
        self.output = nn.Linear(count * self.shape.value_width, self.output_dim)
        for linear in (self.query, self.key, self.value):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)
        nn.init.zeros_(self.output.bias)

    def project_query(self, query: Tensor) -> Tensor:
        return _split(self.query(query), self.shape.maps)

    def project_key(self, key: Tensor) -> Tensor:
        return _split(self.key(key), self.shape.key_maps)

    def project_value(self, value: Tensor, mask: Tensor | None) -> Tensor:
        return _split(self.value(value), self.groups)

    def merge(self, context: Tensor, query: Tensor) -> Tensor:
        return self.output(context.transpose(1, 2).flatten(2))  # batch x queries x output_dim


class Multi(Projected):
    """Each head has its own projections (Vaswani et al. 2017)."""

    def __init__(self, inputs: Inputs, *, count: int) -> None:
        super().__init__(inputs, count=count, groups=count)


class MultiQuery(Projected):
    """All heads share keys and values (Shazeer 2019, "Fast Transformer Decoding")."""

    def __init__(self, inputs: Inputs, *, count: int) -> None:
        super().__init__(inputs, count=count, groups=1)


class GroupedQuery(Projected):
    """Groups of heads share keys and values (Ainslie et al. 2023, "GQA")."""

    def __init__(self, inputs: Inputs, *, count: int, groups: int) -> None:
        super().__init__(inputs, count=count, groups=groups)


class Gated(Multi):
    """Each head's context passes an elementwise sigmoid gate that the query sets (Qiu et al.
    2025, "Gated Attention for Large Language Models")."""

    def __init__(self, inputs: Inputs, *, count: int) -> None:
        super().__init__(inputs, count=count)
        self.gate = nn.Linear(inputs.query_dim, count * self.shape.value_width)

    def merge(self, context: Tensor, query: Tensor) -> Tensor:
        joined = context.transpose(1, 2).flatten(2)  # batch x queries x heads * width
        return self.output(joined * self.gate(query).sigmoid())


def _split(tensor: Tensor, maps: int) -> Tensor:
    """batch x length x maps * width -> batch x maps x length x width."""
    return tensor.unflatten(-1, (maps, -1)).transpose(1, 2)


def _check_division(width: int, maps: int, count: int, groups: int) -> None:
    if width % maps:
        fitting = [str(n) for n in range(1, width + 1) if width % (n * maps // count) == 0]
        raise UserError(
            f"attention.heads.count={count} does not divide the query's width {width}; "
            f"allowed: {', '.join(fitting[:12])}"
        )
    if count % groups:
        fitting = [str(n) for n in range(1, count + 1) if count % n == 0]
        raise UserError(
            f"attention.heads.groups={groups} does not divide {count} heads; "
            f"allowed: {', '.join(fitting)}"
        )


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
