"""Encoders beside the recurrent and the Transformer's: convolutional, and of several inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attnlab.config.attention import AttentionConfig
from attnlab.data.vocabulary import Vocabulary
from attnlab.models.builder import Decoder, Dropout, ModelBuilder
from attnlab.models.memory import Memory
from attnlab.models.recurrent import Recurrent


class Convolutional(Recurrent):
    """Builder of `model=convolutional`: convolutions read, a recurrent decoder writes."""

    def __init__(self, *, kernel: int, **recurrent: Any) -> None:
        super().__init__(bidirectional=False, **recurrent)
        self.kernel = kernel

    def encoder(self, attention: AttentionConfig, stem: str = "encoder") -> nn.Module:
        return ConvolutionalEncoder(self) if self.encoder_layers else nn.Identity()

    def causal_decoder(  # type: ignore[override]
        self, vocabulary: Vocabulary, attention: AttentionConfig
    ) -> Decoder:
        return ModelBuilder.causal_decoder(self, vocabulary, attention)  # refused


class ConvolutionalEncoder(nn.Module):
    """Convolutions over the sequence; the receptive field grows layer by layer."""

    def __init__(self, builder: Convolutional) -> None:
        super().__init__()
        self.widen = nn.Linear(builder.embedding_dim, builder.dim)
        self.layers = nn.ModuleList(
            GatedConvolution(builder) for _ in range(builder.encoder_layers)
        )
        self.norm = nn.LayerNorm(builder.dim)

    def forward(self, inputs: Memory) -> Memory:
        states = self.widen(inputs.values)  # batch x length x dim
        for layer in self.layers:
            states = layer(states, inputs.mask)
        return inputs._replace(values=self.norm(states))


class GatedConvolution(nn.Module):
    """A convolution with a gated linear unit, beside a shortcut."""

    def __init__(self, builder: Convolutional) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(builder.dim)
        self.convolution = nn.Conv1d(
            builder.dim, 2 * builder.dim, builder.kernel, padding=builder.kernel // 2
        )
        self.dropout = Dropout(builder.dropout)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """States batch x length x dim; mask batch x length."""
        # Padding is zero, as beyond both ends.
        inner = self.norm(states).masked_fill(~mask[..., None], 0.0)
        inner = F.glu(self.convolution(inner.transpose(1, 2)), 1)  # batch x dim x length
        return states + self.dropout(inner.transpose(1, 2))


class OneSequence(nn.Module):
    """All inputs side by side through one encoder, so that each state sees them all.

    (As in ViLT, Kim et al. 2021.)
    """

    def __init__(self, encoder: nn.Module, inputs: int, width: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.kinds = nn.Embedding(inputs, width)

    def forward(self, memories: Sequence[Memory]) -> list[Memory]:
        marked = [
            memory._replace(values=memory.values + kind)
            for memory, kind in zip(memories, self.kinds.weight, strict=True)
        ]
        return encoded_together(self.encoder, marked)


class CoAttention(nn.Module):
    """Each input through an encoder of its own; then, round by round, each attends to the others.

    Co-attention (Lu et al. 2016) by cross-attention in both directions at once, as in ViLBERT (Lu
    et al. 2019). Sites are named after the input of the queries: `image.cross.0`.
    """

    def __init__(
        self, builder: ModelBuilder, attention: AttentionConfig, names: Sequence[str], rounds: int
    ) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(builder.encoder(attention, name) for name in names)
        self.rounds = nn.ModuleList(
            nn.ModuleList(Crossing(builder, attention, f"{name}.cross.{i}") for name in names)
            for i in range(rounds)
        )

    def forward(self, memories: Sequence[Memory]) -> list[Memory]:
        pairs = zip(self.encoders, memories, strict=True)
        memories = [encoder(memory) for encoder, memory in pairs]
        for crossings in self.rounds:
            memories = [
                crossing(own, side_by_side([m for m in memories if m is not own]))
                for crossing, own in zip(crossings, memories, strict=True)  # type: ignore[arg-type]
            ]
        return memories


class Crossing(nn.Module):
    """Cross-attention of one input to the others, then feed-forward, each with a shortcut."""

    def __init__(self, builder: ModelBuilder, attention: AttentionConfig, site: str) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(builder.dim) for _ in range(3))
        self.attention = builder.attention(attention, site)
        self.mlp = nn.Sequential(
            nn.Linear(builder.dim, 2 * builder.dim),
            nn.GELU(),
            nn.Linear(2 * builder.dim, builder.dim),
        )
        self.dropout = Dropout(builder.dropout)

    def forward(self, own: Memory, others: Memory) -> Memory:
        queries, keys = self.norms[0](own.values), self.norms[1](others.values)
        states = own.values + self.dropout(self.attention(queries, keys, keys, others.visible()))
        return own._replace(values=states + self.dropout(self.mlp(self.norms[2](states))))


def encoded_together(encoder: nn.Module, memories: Sequence[Memory]) -> list[Memory]:
    """Several memories through an encoder as one sequence, without padding in between.

    A causal memory comes last in a causal sequence: its states see all other inputs and their own
    past, and no state of another input sees it.
    """
    numbers = sorted(range(len(memories)), key=lambda number: memories[number].causal)
    joined = side_by_side([memories[number] for number in numbers])
    order = (~joined.mask).long().argsort(dim=1, stable=True)  # real keys first
    values, mask = _gathered(joined.values, order), joined.mask.gather(1, order)
    encoded = encoder(Memory(values, mask, causal=joined.causal))
    states = _gathered(encoded.values, order.argsort(1))  # batch x all keys x dim
    lengths = [memories[number].mask.shape[1] for number in numbers]
    by_number = dict(zip(numbers, states.split(lengths, 1), strict=True))
    return [memory._replace(values=by_number[i]) for i, memory in enumerate(memories)]


def side_by_side(memories: Sequence[Memory]) -> Memory:
    """Several memories as one, each with its own padding; causal if one of them is."""
    if len(memories) == 1:
        return memories[0]
    values = torch.cat([memory.values for memory in memories], 1)
    mask = torch.cat([memory.mask for memory in memories], 1)
    return Memory(values, mask, causal=any(memory.causal for memory in memories))


def _gathered(values: Tensor, order: Tensor) -> Tensor:
    """values: batch x keys x width; order: batch x keys."""
    return values.gather(1, order[..., None].expand(-1, -1, values.shape[-1]))
