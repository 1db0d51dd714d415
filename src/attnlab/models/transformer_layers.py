"""Layers of a Transformer: of its encoder, plain or with a convolution (Conformer), and decoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from attnlab.attention.mask import Mask
from attnlab.attention.mechanism import Attention
from attnlab.attention.state import State
from attnlab.attention.taps import sites
from attnlab.config.attention import AttentionConfig
from attnlab.models.builder import Dropout
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


def recomputed(layer: nn.Module) -> Callable[..., Tensor]:
    """The layer, of which training keeps the inputs alone: all between is computed once more in the
    backward pass, bit for bit (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost").

    A layer whose map is changed is run as it is: the change may be over by then.
    """
    changed = any(each.attached.changes for each in sites(layer).values())
    if changed or not torch.is_grad_enabled():
        return layer
    buffers = [dict(module.named_buffers(recurse=False)) for module in layer.modules()]
    contexts = lambda: (nullcontext(), _once_more(layer, buffers))  # noqa: E731 - torch calls it
    return partial(checkpoint, layer, use_reentrant=False, context_fn=contexts)


@contextmanager
def _once_more(layer: nn.Module, buffers: list[dict[str, Tensor]]) -> Iterator[None]:
    """While open, a layer has these buffers (a count of steps, say) and nothing is recorded."""
    now = [dict(module.named_buffers(recurse=False)) for module in layer.modules()]
    attached = [each.attached for each in sites(layer).values()]
    observers = [each.observers for each in attached]
    for each in attached:
        each.observers = []
    _set_buffers(layer, buffers)
    try:
        yield
    finally:
        _set_buffers(layer, now)
        for each, own in zip(attached, observers, strict=True):
            each.observers = own


def _set_buffers(layer: nn.Module, buffers: list[dict[str, Tensor]]) -> None:
    for module, own in zip(layer.modules(), buffers, strict=True):
        for name, tensor in own.items():
            setattr(module, name, tensor)


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


@dataclass(frozen=True)
class Packing:
    """Several short examples in one row, so that nothing is computed for padding.

    Rows are as long as the longest example. Each state sees those of its own example alone, so that
    the results are the same without packing (as in Krell et al. 2021).
    """

    sources: Tensor  # of all real states: index into batch x length, flat
    targets: Tensor  # of the same states: index into rows x width, flat
    owners: Tensor  # rows x width: the example of each position, -1 where there is none

    @classmethod
    def of(cls, mask: Tensor) -> Packing | None:
        """For states, real where the mask (batch x length) says so; None if no row is saved."""
        lengths = mask.sum(1).tolist()
        rows = in_rows(lengths, mask.shape[1])
        if len(rows) == len(lengths):
            return None
        width = mask.shape[1]
        starts = torch.zeros(len(lengths), dtype=torch.long)  # index of each example's first state
        for number, row in enumerate(rows):
            start = number * width
            for example in row:
                starts[example] = start
                start += lengths[example]
        sources = mask.flatten().nonzero()[:, 0]
        example, offset = sources // width, (mask.cumsum(1) - 1).flatten()[sources]
        targets = starts.to(mask.device)[example] + offset
        owners = mask.new_full((len(rows) * width,), -1, dtype=torch.long)
        owners[targets] = example
        return cls(sources, targets, owners.view(len(rows), width))

    def packed(self, states: Tensor) -> Tensor:
        """batch x length x dim -> rows x width x dim, zero where there is no state."""
        rows, width = self.owners.shape
        empty = states.new_zeros(rows * width, states.shape[-1])
        filled = empty.index_copy(0, self.targets, states.flatten(0, 1)[self.sources])
        return filled.view(rows, width, -1)

    def unpacked(self, rows: Tensor, like: Tensor) -> Tensor:
        """rows x width x dim -> the shape of `like`, batch x length x dim, padding zero."""
        empty = torch.zeros_like(like).flatten(0, 1)
        return empty.index_copy(0, self.sources, rows.flatten(0, 1)[self.targets]).view_as(like)

    def visible(self, causal: bool) -> Mask:
        """Within rows, the states of one's own example."""
        same = self.owners[:, :, None] == self.owners[:, None, :]  # rows x width x width
        return Mask(keys=self.owners >= 0, custom=same[:, None], causal=causal)


def in_rows(lengths: list[int], width: int) -> list[list[int]]:
    """Examples by row, the longest first, each in the first row that has room for it."""
    rows: list[list[int]] = []
    room: list[int] = []
    for example in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        fits = (row for row, left in enumerate(room) if left >= lengths[example])
        row = next(fits, len(rows))
        if row == len(rows):
            rows.append([])
            room.append(width)
        rows[row].append(example)
        room[row] -= lengths[example]
    return rows
