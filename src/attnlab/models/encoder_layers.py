"""Layers of a Transformer's encoder: plain, and with a convolution (Conformer)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional as F

from attnlab.attention.mask import Mask
from attnlab.config.attention import AttentionConfig
from attnlab.models.dropout import Dropout

if TYPE_CHECKING:
    from attnlab.models.transformer import Transformer


class FeedForward(nn.Sequential):
    """Widen, bend, narrow."""

    def __init__(self, builder: Transformer) -> None:
        super().__init__(
            nn.Linear(builder.dim, builder.feedforward_dim),
            nn.ReLU(),
            Dropout(builder.feedforward_dropout),
            nn.Linear(builder.feedforward_dim, builder.dim),
        )


class Residual(nn.Module):
    """States, and what a block adds to them, normalised before the block or after the sum.

    Before (Xiong et al. 2020) trains more easily, after is as in Vaswani et al. 2017.
    """

    def __init__(self, builder: Transformer) -> None:
        super().__init__()
        self.dropout, self.after = Dropout(builder.dropout), builder.norm == "after"

    def forward(self, states: Tensor, norm: nn.Module, block: Callable[[Tensor], Tensor]) -> Tensor:
        """batch x length x dim."""
        if self.after:
            return norm(states + self.dropout(block(states)))
        return states + self.dropout(block(norm(states)))


def last_norm(builder: Transformer) -> nn.Module:
    """Stands behind layers that leave their sum as it is."""
    return nn.Identity() if builder.norm == "after" else nn.LayerNorm(builder.dim)


class EncoderLayer(nn.Module):
    """Self-attention, then feed-forward."""

    def __init__(self, builder: Transformer, attention: AttentionConfig, site: str) -> None:
        super().__init__()
        self.self_attention = builder.attention(attention, site)
        self.feedforward = FeedForward(builder)
        self.norms = nn.ModuleList(nn.LayerNorm(builder.dim) for _ in range(2))
        self.residual = Residual(builder)

    def forward(self, states: Tensor, mask: Mask) -> Tensor:
        states = self.residual(states, self.norms[0], partial(self.attended, mask))
        return self.residual(states, self.norms[1], self.feedforward)  # batch x length x dim

    def attended(self, mask: Mask, states: Tensor) -> Tensor:
        """What each state finds in all of them."""
        return self.self_attention(states, states, states, mask)


class ConformerLayer(EncoderLayer):
    """Half a feed-forward, self-attention, a convolution, the other half (Gulati et al. 2020)."""

    def __init__(
        self, builder: Transformer, attention: AttentionConfig, site: str, kernel: int
    ) -> None:
        super().__init__(builder, attention, site)
        self.before = nn.Sequential(nn.LayerNorm(builder.dim), FeedForward(builder))
        self.convolution = Convolution(builder.dim, kernel)
        self.norm = nn.LayerNorm(builder.dim)
        self.dropout = Dropout(builder.dropout)

    def forward(self, states: Tensor, mask: Mask) -> Tensor:
        states = states + self.dropout(self.before(states)) / 2  # batch x length x dim
        states = self.residual(states, self.norms[0], partial(self.attended, mask))
        states = states + self.dropout(self.convolution(states, mask.keys))
        states = states + self.dropout(self.feedforward(self.norms[1](states))) / 2
        return self.norm(states)


class Convolution(nn.Module):
    """Over time, each channel by itself, between two layers that join them.

    Layers are normalised where the paper normalises batches, so that what an example gets does not
    depend on those beside it.
    """

    def __init__(self, dim: int, kernel: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(2))
        self.gated = nn.Linear(dim, 2 * dim)
        self.over_time = nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=dim)
        self.output = nn.Linear(dim, dim)

    def forward(self, states: Tensor, real: Tensor | None) -> Tensor:
        """States batch x length x dim, of which `real` (batch x length) ones count."""
        inner = F.glu(self.gated(self.norms[0](states)), -1)
        if real is not None:
            inner = inner * real[..., None]  # padding is as what lies beyond the ends
        inner = self.over_time(inner.transpose(1, 2)).transpose(1, 2)
        return self.output(F.silu(self.norms[1](inner)))
