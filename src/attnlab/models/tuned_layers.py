"""What is trained beside layers that stay as they are: matrices, adapters, prefixes, prompts.

A layer becomes another one in place, so that its own parameters keep their names.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attnlab.attention.mechanism import Attention


class LoraLinear(nn.Linear):
    """x W + b + scale x A B: W and b stay as they are, A and B are trained (Hu et al. 2022)."""

    down: nn.Parameter  # rank x in
    up: nn.Parameter  # out x rank, zero at first
    scale: float
    dropout: float

    @classmethod
    def of(cls, layer: nn.Linear, rank: int, scale: float, dropout: float) -> LoraLinear:
        """The layer itself, changed."""
        layer.__class__ = cls
        assert isinstance(layer, cls)
        layer.down, layer.up = _narrow(layer, layer.in_features, rank)
        layer.scale, layer.dropout = scale, dropout
        return layer

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - as PyTorch has it
        read = F.dropout(input, self.dropout, self.training)
        return super().forward(input) + self.scale * F.linear(F.linear(read, self.down), self.up)

    @torch.no_grad()
    def merge(self) -> None:
        """Become a linear layer again, which computes the same without dropout."""
        self.weight += self.scale * self.up @ self.down
        del self.down, self.up, self.scale, self.dropout
        self.__class__ = nn.Linear  # type: ignore[assignment]


class AdapterLinear(nn.Linear):
    """y + relu(y A + a) B + b of a layer's output y, where A is narrow (Houlsby et al. 2019)."""

    adapter_down: nn.Parameter  # width x out
    adapter_down_bias: nn.Parameter  # width
    adapter_up: nn.Parameter  # out x width, zero at first
    adapter_up_bias: nn.Parameter  # out

    @classmethod
    def of(cls, layer: nn.Linear, width: int) -> AdapterLinear:
        """The layer itself, changed."""
        layer.__class__ = cls
        assert isinstance(layer, cls)
        layer.adapter_down, layer.adapter_up = _narrow(layer, layer.out_features, width)
        layer.adapter_down_bias = nn.Parameter(layer.weight.new_zeros(width))
        layer.adapter_up_bias = nn.Parameter(layer.weight.new_zeros(layer.out_features))
        return layer

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - as PyTorch has it
        output = super().forward(input)
        inner = F.relu(F.linear(output, self.adapter_down, self.adapter_down_bias))
        return output + F.linear(inner, self.adapter_up, self.adapter_up_bias)


def _narrow(layer: nn.Linear, read: int, width: int) -> tuple[nn.Parameter, nn.Parameter]:
    """A matrix that reads so many numbers, and one that writes the layer's, of zeros."""
    like: dict[str, Any] = {"dtype": layer.weight.dtype, "device": layer.weight.device}
    down = nn.Parameter(torch.empty(width, read, **like))
    nn.init.kaiming_uniform_(down, a=5**0.5)
    return down, nn.Parameter(torch.zeros(layer.out_features, width, **like))


class Prefix(nn.Module):
    """Learned keys and values beside those of the input (Li & Liang 2021).

    They have a softmax of their own, and a gate that is closed at first (Zhang et al. 2024,
    "LLaMA-Adapter"): the map stays one over the input.
    """

    def __init__(self, attention: Attention, length: int) -> None:
        super().__init__()
        shape, self.heads = attention.heads.shape, attention.heads.count
        width = shape.maps // self.heads * shape.query_width
        self.keys = nn.Parameter(width**-0.5 * torch.randn(self.heads, length, width))
        self.values = nn.Parameter(0.02 * torch.randn(self.heads, length, shape.value_width))
        self.gate = nn.Parameter(torch.zeros(self.heads, 1, 1))

    def forward(self, query: Tensor) -> Tensor:
        """batch x maps x queries x width -> batch x heads x queries x value_width."""
        maps = query.unflatten(1, (self.heads, -1))  # one, or more where a head subtracts maps
        query = maps.transpose(2, 3).flatten(3)
        weights = (query @ self.keys.to(query).mT).softmax(-1)
        return self.gate.tanh() * (weights @ self.values.to(query))


def add_prompt(
    encoder: nn.Module, attentions: Iterable[Attention], length: int, width: int
) -> None:
    """Let an encoder read learned vectors before its input (Lester et al. 2021), in place.

    What it makes of them is cut off, and so are they from the maps of its attentions.
    """
    encoder.prompt = nn.Parameter(0.1 * torch.randn(length, width))
    encoder.register_forward_pre_hook(_with_prompt)
    encoder.register_forward_hook(_without_prompt)
    for attention in attentions:
        attention.prompt = length


def _with_prompt(encoder: Any, args: tuple[Any]) -> tuple[Any]:
    (memory,) = args  # of one input
    count, prompt = len(memory.values), encoder.prompt.to(memory.values)
    values = torch.cat([prompt.expand(count, -1, -1), memory.values], 1)
    mask = torch.cat([memory.mask.new_ones(count, len(prompt)), memory.mask], 1)
    return (memory._replace(values=values, mask=mask),)


def _without_prompt(encoder: Any, args: tuple[Any], memory: Any) -> Any:
    length = len(encoder.prompt)
    return memory._replace(values=memory.values[:, length:], mask=memory.mask[:, length:])
