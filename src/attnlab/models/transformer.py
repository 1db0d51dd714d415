"""Transformer encoder and decoder (Vaswani et al. 2017)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Unpack, cast

import torch
from torch import Tensor, nn

from attnlab.attention.mask import Mask
from attnlab.attention.mechanism import Attention
from attnlab.attention.positions import sinusoids
from attnlab.attention.state import State
from attnlab.attention.taps import watched
from attnlab.config.attention import AttentionConfig
from attnlab.data.vocabulary import Vocabulary
from attnlab.errors import UserError
from attnlab.models.builder import Decoder, Dropout, ModelBuilder, Shared
from attnlab.models.causal_decoder import CausalDecoder
from attnlab.models.memory import Memory
from attnlab.models.transformer_layers import (
    ConformerLayer,
    DecoderLayer,
    EncoderLayer,
    LayerCaches,
    Packing,
    last_norm,
    recomputed,
)
from attnlab.models.units import Scores, whole


class Transformer(ModelBuilder):
    """Builder of `model=transformer`."""

    def __init__(  # noqa: PLR0913 - each is a setting of its own
        self,
        *,
        encoder_layers: int,
        decoder_layers: int,
        feedforward_dim: int,
        feedforward_dropout: float,
        embedding_positions: Literal["sinusoidal", "learned", "none"],
        max_length: int,
        self_attention: AttentionConfig | None,
        packed: bool,
        kernel: int | None,
        checkpoint_activations: bool,
        norm: Literal["before", "after"],
        **shared: Unpack[Shared],
    ) -> None:
        super().__init__(**shared)
        self.encoder_layers, self.decoder_layers = encoder_layers, decoder_layers
        self.feedforward_dim, self.feedforward_dropout = feedforward_dim, feedforward_dropout
        self.positions, self.max_length = embedding_positions, max_length
        self.self_attention = self_attention
        self.packed, self.kernel = packed, kernel
        self.checkpoint_activations = checkpoint_activations
        self.norm: Literal["before", "after"] = norm

    @property
    def embedding_width(self) -> int:
        return self.dim

    def embedding(self, vocabulary: Vocabulary, width: int) -> nn.Module:
        return PositionedEmbedding(self, self.units.words(vocabulary, width))

    def add_positions(self) -> nn.Module:
        return PositionedMemory(self)

    def encoder(self, attention: AttentionConfig, stem: str = "encoder") -> nn.Module:
        return TransformerEncoder(self, self.self_attention or attention, stem)

    def decoder(self, vocabulary: int, attention: AttentionConfig) -> Decoder:
        return TransformerDecoder(self, vocabulary, attention)

    def causal_decoder(self, vocabulary: Vocabulary, attention: AttentionConfig) -> CausalDecoder:
        return CausalDecoder(self, vocabulary, attention)

    def attention(self, config: AttentionConfig, site: str, **sizes: int | None) -> Attention:
        return super().attention(config, site, **{"max_length": self.max_length} | sizes)


class PositionedEmbedding(nn.Module):
    """Units as vectors, with their positions added."""

    def __init__(self, builder: Transformer, units: nn.Embedding) -> None:
        super().__init__()
        self.units = units
        self.scale = math.sqrt(builder.dim)
        self.dropout = Dropout(builder.dropout)
        self.positions = Positions(builder)

    def forward(self, units: Tensor, start: int = 0) -> Tensor:
        """Units batch x length, the first at position `start`: batch x length x dim."""
        return self.dropout(self.positions(self.units(units) * self.scale, start))


class PositionedMemory(nn.Module):
    """A memory, with positions added to its states."""

    def __init__(self, builder: Transformer) -> None:
        super().__init__()
        self.positions = Positions(builder)

    def forward(self, memory: Memory) -> Memory:
        return memory._replace(values=self.positions(memory.values))


class Positions(nn.Module):
    """Adds to each state the vector of its position."""

    table: Tensor | None

    def __init__(self, builder: Transformer) -> None:
        super().__init__()
        self.max_length = builder.max_length
        if builder.positions == "learned":
            self.table = nn.Parameter(0.02 * torch.randn(builder.max_length, builder.dim))
        else:
            positions = torch.arange(builder.max_length)
            table = sinusoids(positions, builder.dim, interleaved=True)
            table = None if builder.positions == "none" else table
            self.register_buffer("table", table, persistent=False)

    def forward(self, states: Tensor, start: int = 0) -> Tensor:
        """States batch x length x dim, the first at position `start`."""
        if self.table is None:
            return states
        end = start + states.shape[1]
        if end > self.max_length:
            raise UserError(f"model.max_length: {self.max_length} is less than the input's {end}")
        return states + self.table[start:end]


class TransformerEncoder(nn.Module):
    """A stack of layers, with a state for every position."""

    def __init__(self, builder: Transformer, attention: AttentionConfig, stem: str) -> None:
        super().__init__()
        sites = [f"{stem}.self.{number}" for number in range(builder.encoder_layers)]
        self.layers = nn.ModuleList(
            EncoderLayer(builder, attention, site)
            if builder.kernel is None
            else ConformerLayer(builder, attention, site, builder.kernel)
            for site in sites
        )
        self.norm = last_norm(builder)
        self.packed, self.recomputes = builder.packed, builder.checkpoint_activations

    def forward(self, inputs: Memory, caches: list[State] | None = None) -> Memory:
        """A memory of width `dim`; with caches, the next states of a longer causal one."""
        states = inputs.values  # batch x length x dim
        packs = self.packed and caches is None and not watched(self)
        packing = Packing.of(inputs.mask) if packs else None
        if packing is None:
            return inputs._replace(values=self.through(states, inputs.visible(), caches))
        rows = self.through(packing.packed(states), packing.visible(inputs.causal))
        return inputs._replace(values=packing.unpacked(rows, states))

    def start(self) -> list[State]:
        """The caches of a causal sequence before its first state, one a layer."""
        layers = cast("Iterable[EncoderLayer]", self.layers)
        return [layer.self_attention.start(None, None, Mask(causal=True)) for layer in layers]

    def through(self, states: Tensor, mask: Mask, caches: list[State] | None = None) -> Tensor:
        """All layers: batch x length x dim."""
        for number, layer in enumerate(self.layers):
            run = recomputed(layer) if self.recomputes else layer
            states = run(states, mask, None if caches is None else caches[number])
        return self.norm(states)


@dataclass
class TransformerState:
    """What a decoder keeps between two steps."""

    memory: Memory
    caches: list[LayerCaches]
    length: int = 0

    def select(self, rows: Tensor) -> TransformerState:
        """The state of some of the sequences, in the order of `rows`."""
        caches = [LayerCaches(c.own.select(rows), c.memory.select(rows)) for c in self.caches]
        return TransformerState(self.memory.select(rows), caches, self.length)

    def reorder(self, rows: Tensor) -> None:
        """Go on with these sequences; the memory of each row is that of its new sequence."""
        for cache in self.caches:
            cache.own.reorder(rows)
            cache.memory.reorder(rows)


class TransformerDecoder(Decoder):
    """A stack of layers over the units so far; each state scores the next unit."""

    def __init__(self, builder: Transformer, vocabulary: int, attention: AttentionConfig) -> None:
        super().__init__()
        units = builder.units.embedding(vocabulary, builder.dim)
        self.embedding = PositionedEmbedding(builder, units)
        own = builder.self_attention or attention
        numbers = range(builder.decoder_layers)
        self.layers = nn.ModuleList(DecoderLayer(builder, i, own, attention) for i in numbers)
        self.norm, self.recomputes = last_norm(builder), builder.checkpoint_activations
        self.output = builder.units.output(units, builder.dim)

    def forward(self, units: Tensor, memory: Memory) -> Scores:
        """Scores of the next unit after each of `units`: batch x length x vocabulary."""
        return self._scores(self.embedding(units), memory, [None] * len(self.layers))

    def start(self, memory: Memory) -> TransformerState:
        """The state before the first unit."""
        layers = cast("Iterable[DecoderLayer]", self.layers)
        return TransformerState(memory, [layer.start(memory) for layer in layers])

    def step(self, units: Tensor, state: TransformerState) -> Tensor:
        """Scores of the unit after `units` (batch): batch x vocabulary. Moves the state on."""
        embedded = self.embedding(units[:, None], start=state.length)
        state.length += 1
        return whole(self._scores(embedded, state.memory, state.caches))[:, 0]

    def _scores(
        self, states: Tensor, memory: Memory, caches: Iterable[LayerCaches | None]
    ) -> Scores:
        for layer, cache in zip(self.layers, caches, strict=True):
            run = recomputed(layer) if self.recomputes else layer
            states = run(states, memory, cache)
        return self.output(self.norm(states))
