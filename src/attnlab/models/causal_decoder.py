"""`CausalDecoder`: a decoder of one text, whose states see the units before them alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from attnlab.attention.mask import Mask
from attnlab.attention.parts_of_texts import TextPart
from attnlab.attention.state import State
from attnlab.config.attention import AttentionConfig
from attnlab.data.batch import Padded
from attnlab.data.vocabulary import BOS, SPECIAL, Vocabulary
from attnlab.models.builder import Decoder, Dropout, ModelBuilder
from attnlab.models.memory import Memory
from attnlab.models.units import Scores, whole


@dataclass
class CausalState:
    """What a causal decoder keeps between two steps."""

    caches: list[Any]  # one of each layer of the encoder
    attention: State | None  # of the decoder's own attention, if it has one
    first: Tensor | None  # batch: the unit that the first step reads
    rest: Padded  # batch x units of the prompts that the first steps have to choose
    length: int = 0  # units in the caches
    steps: int = 0

    def select(self, rows: Tensor) -> CausalState:
        """The state of some of the sequences, in the order of `rows`."""
        return replace(
            self,
            caches=[cache.select(rows) for cache in self.caches],
            attention=None if self.attention is None else self.attention.select(rows),
            first=None if self.first is None else self.first[rows],
            rest=Padded(self.rest.values[rows], self.rest.mask[rows]),
        )

    def reorder(self, rows: Tensor) -> None:
        """Go on with these sequences, each of which has the prompt of the one in its place."""
        for cache in self.caches if self.attention is None else [*self.caches, self.attention]:
            cache.reorder(rows)


class CausalDecoder(Decoder):
    """Scores the unit after each unit of a text from the state of a causal encoder.

    Known as decoder-only. A whole text is one pass; step by step, caches grow by one unit a step.
    In the place of a memory stand prompts: `Memory(units, mask)` of batch x length units, none or
    more, which the answers continue. What all prompts have in length is read at once; a longer
    prompt's rest is the beginning of its answer (`rest_of`).
    """

    marks = True
    """Whether texts have marks of begin and end; without, prompts have a unit, and no mark or
    unknown unit is written."""

    def __init__(
        self, builder: ModelBuilder, vocabulary: Vocabulary, attention: AttentionConfig
    ) -> None:
        super().__init__()
        self.embedding = builder.embedding(vocabulary, builder.embedding_width)
        self.encoder: Any = builder.encoder(attention)
        matrix: Any = self.embedding.units
        self.output = builder.units.output(matrix, self.scored_width(builder))

    def scored_width(self, builder: ModelBuilder) -> int:
        """The width of the states that units are scored from."""
        return builder.dim

    def forward(self, units: Tensor, memory: Memory | None = None) -> Scores:
        """Scores of the unit after each of `units`: batch x length x vocabulary."""
        return self.scores(self.states(units))

    def states(self, units: Tensor) -> Tensor:
        """The encoder's states, batch x length x dim, of which the n-th sees the first n units."""
        real = torch.ones_like(units, dtype=torch.bool)  # padding comes last: no unit sees it
        return self.encoder(Memory(self.embedding(units), real, causal=True)).values

    def of_part(self, units: Tensor, part: TextPart) -> Scores:
        """Scores after each unit of one part of texts, whose other parts other processes read.

        units: batch x length of a part.
        """
        length = units.shape[1]
        embedded = self.embedding(units, start=part.rank * length)
        caches = part.states(self.encoder.start(), length)
        real = torch.ones_like(units, dtype=torch.bool)  # padding comes last: no unit sees it
        return self.scores(self.encoder(Memory(embedded, real, causal=True), caches).values)

    def scores(self, states: Tensor, attention: State | None = None) -> Scores:
        """States, batch x length x dim, to scores of the next units, batch x length x vocabulary.

        `attention` is the state of the decoder's own attention, where steps go on with it.
        """
        return self.output(states)

    def start_attention(self) -> State | None:
        """The state of the decoder's own attention before the first unit."""
        return None

    def start(self, memory: Memory) -> CausalState:
        """The state after the common length of the prompts, whose rest comes first in answers."""
        prompts, mask = memory.values, memory.mask
        common = int(mask.sum(1).min()) if mask.shape[1] else 0
        units = prompts[:, :common]
        if self.marks:
            units = torch.cat([prompts.new_full((len(prompts), 1), BOS), units], 1)
        rest = Padded(prompts[:, common:], mask[:, common:])
        state = CausalState(self.encoder.start(), self.start_attention(), units[:, -1], rest)
        if units.shape[1] > 1:
            self.advance(units[:, :-1], state)
        return state

    def step(self, units: Tensor, state: CausalState) -> Tensor:
        """Scores of the unit after `units` (batch): batch x vocabulary. Moves the state on."""
        if state.first is not None:
            units, state.first = state.first, None
        scores = whole(self.advance(units[:, None], state))[:, -1]
        if not self.marks:
            scores[:, : len(SPECIAL)] = -torch.inf
        number, rest = state.steps, state.rest
        state.steps += 1
        if number >= rest.values.shape[1]:
            return scores
        only = torch.full_like(scores, -torch.inf).scatter(1, rest.values[:, number, None], 0.0)
        return torch.where(rest.mask[:, number, None], only, scores)

    def advance(self, units: Tensor, state: CausalState) -> Scores:
        """Scores after each of the next units, batch x steps x vocabulary; moves the state on."""
        embedded = self.embedding(units, start=state.length)
        real = torch.ones_like(units, dtype=torch.bool)
        state.length += units.shape[1]
        states = self.encoder(Memory(embedded, real, causal=True), state.caches).values
        return self.scores(states, state.attention)


class AttendingCausalDecoder(CausalDecoder):
    """A causal encoder that does not attend, then attention to its earlier states.

    Each state is the query; its context and itself give the next unit (Mei et al. 2017).
    """

    def __init__(
        self, builder: ModelBuilder, vocabulary: Vocabulary, attention: AttentionConfig
    ) -> None:
        super().__init__(builder, vocabulary, attention)
        self.attention = builder.attention(attention, "decoder.self.0")
        width = builder.dim + self.attention.output_dim
        self.mix = nn.Linear(width, self.scored_width(builder))
        self.dropout = Dropout(builder.dropout)

    def scored_width(self, builder: ModelBuilder) -> int:
        return builder.dim if builder.tie == "none" else builder.embedding_width

    def scores(self, states: Tensor, attention: State | None = None) -> Scores:
        context = self.attention(states, states, states, Mask(causal=True), state=attention)
        mixed = torch.tanh(self.mix(torch.cat([states, context], -1)))  # batch x length x width
        return self.output(self.dropout(mixed))

    def start_attention(self) -> State:
        return self.attention.start(None, None, Mask(causal=True))


def rest_of(prompts: Memory) -> Tensor:
    """How many units of each prompt its decoded answer begins with: batch."""
    lengths = prompts.mask.sum(1)
    return lengths - lengths.min()
