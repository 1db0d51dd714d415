"""Layers of a Transformer: of its encoder, plain or with a convolution (Conformer), and decoder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from torch import Tensor, nn
from torch.nn import functional as F

from attnlab.attention.mask import Mask
from attnlab.attention.mechanism import Attention
from attnlab.attention.state import State
from attnlab.config.attention import AttentionConfig
from attnlab.models.dropout import Dropout
from attnlab.models.memory import Memory


class LayerBuilder(Protocol):
    """What layers take from the model's builder."""

    dim: int
    dropout: float
    feedforward_dim: int
    feedforward_dropout: float
    norm: Literal["before", "after"]

    def attention(self, config: AttentionConfig, site: str, **sizes: int | None) -> Attention:
        """A mechanism between states of width `dim`."""
        ...


class FeedForward(nn.Sequential):
    """Two linear layers with a wider one in between."""

    def __init__(self, builder: LayerBuilder) -> None:
        super().__init__(
            nn.Linear(builder.dim, builder.feedforward_dim),
            nn.ReLU(),
            Dropout(builder.feedforward_dropout),
            nn.Linear(builder.feedforward_dim, builder.dim),
        )


class Residual(nn.Module):
    """Adds a block's output to its input, normalised before the block or after the sum.

    Before (Xiong et al. 2020) trains more easily, after is as in Vaswani et al. 2017.
    """

    def __init__(self, builder: LayerBuilder) -> None:
        super().__init__()
        self.dropout, self.after = Dropout(builder.dropout), builder.norm == "after"

    def forward(self, states: Tensor, norm: nn.Module, block: Callable[[Tensor], Tensor]) -> Tensor:
        """batch x length x dim."""
        if self.after:
            return norm(states + self.dropout(block(states)))
        return states + self.dropout(block(norm(states)))


def last_norm(builder: LayerBuilder) -> nn.Module:
    """Normalises the output of the last layer, unless each layer already does."""
    return nn.Identity() if builder.norm == "after" else nn.LayerNorm(builder.dim)


class EncoderLayer(nn.Module):
    """Self-attention, then feed-forward."""

    def __init__(self, builder: LayerBuilder, attention: AttentionConfig, site: str) -> None:
        super().__init__()
        self.self_attention = builder.attention(attention, site)
        self.feedforward = FeedForward(builder)
        self.norms = nn.ModuleList(nn.LayerNorm(builder.dim) for _ in range(2))
        self.residual = Residual(builder)

    def forward(self, states: Tensor, mask: Mask, cache: State | None = None) -> Tensor:
        """batch x length x dim; with a cache, these are the next steps of a longer sequence."""
        states = self.attended(states, mask, cache)
        return self.residual(states, self.norms[1], self.feedforward)

    def attended(self, states: Tensor, mask: Mask, cache: State | None = None) -> Tensor:
        """The states after self-attention: batch x length x dim."""

        def attend(states: Tensor) -> Tensor:
            return self.self_attention(states, states, states, mask, state=cache)

        return self.residual(states, self.norms[0], attend)


class ConformerLayer(EncoderLayer):
    """Half a feed-forward, self-attention, a convolution, the other half (Gulati et al. 2020)."""

    def __init__(
        self, builder: LayerBuilder, attention: AttentionConfig, site: str, kernel: int
    ) -> None:
        super().__init__(builder, attention, site)
        self.before = nn.Sequential(nn.LayerNorm(builder.dim), FeedForward(builder))
        self.convolution = Convolution(builder.dim, kernel)
        self.norm = nn.LayerNorm(builder.dim)
        self.dropout = Dropout(builder.dropout)

    def forward(self, states: Tensor, mask: Mask, cache: State | None = None) -> Tensor:
        states = states + self.dropout(self.before(states)) / 2  # batch x length x dim
        states = self.attended(states, mask, cache)
        states = states + self.dropout(self.convolution(states, mask.keys))
        states = states + self.dropout(self.feedforward(self.norms[1](states))) / 2
        return self.norm(states)


class Convolution(nn.Module):
    """A convolution over time of each channel by itself, between two layers over all channels.

    It normalises layers where the paper normalises batches: no example depends on the others.
    """

    def __init__(self, dim: int, kernel: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(2))
        self.gated = nn.Linear(dim, 2 * dim)
        self.over_time = nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=dim)
        self.output = nn.Linear(dim, dim)

    def forward(self, states: Tensor, mask: Tensor | None) -> Tensor:
        """States batch x length x dim; mask batch x length."""
        inner = F.glu(self.gated(self.norms[0](states)), -1)
        if mask is not None:
            inner = inner * mask[..., None]  # padding counts as zero, as beyond both ends
        inner = self.over_time(inner.transpose(1, 2)).transpose(1, 2)
        return self.output(F.silu(self.norms[1](inner)))


@dataclass
class LayerCaches:
    """Projected keys and values of one decoder layer, kept between steps."""

    own: State
    memory: State


class DecoderLayer(nn.Module):
    """Causal self-attention, attention to the memory, feed-forward."""

    def __init__(
        self,
        builder: LayerBuilder,
        number: int,
        self_attention: AttentionConfig,
        attention: AttentionConfig,
    ) -> None:
        super().__init__()
        self.self_attention = builder.attention(self_attention, f"decoder.self.{number}")
        self.cross_attention = builder.attention(attention, f"decoder.cross.{number}")
        self.feedforward = FeedForward(builder)
        self.norms = nn.ModuleList(nn.LayerNorm(builder.dim) for _ in range(3))
        self.residual = Residual(builder)

    def start(self, memory: Memory) -> LayerCaches:
        """The caches before the first step."""
        values = memory.values
        return LayerCaches(
            self.self_attention.start(None, None, Mask(causal=True)),
            self.cross_attention.start(values, values, memory.visible()),
        )

    def forward(self, states: Tensor, memory: Memory, caches: LayerCaches | None) -> Tensor:
        """batch x length x dim; with caches, these are the next steps of a longer sequence."""
        own_cache, memory_cache = (caches.own, caches.memory) if caches else (None, None)
        causal, visible, values = Mask(causal=True), memory.visible(), memory.values

        def attend_self(states: Tensor) -> Tensor:
            return self.self_attention(states, states, states, causal, state=own_cache)

        def attend_memory(states: Tensor) -> Tensor:
            return self.cross_attention(states, values, values, visible, state=memory_cache)

        states = self.residual(states, self.norms[0], attend_self)
        states = self.residual(states, self.norms[1], attend_memory)
        return self.residual(states, self.norms[2], self.feedforward)
