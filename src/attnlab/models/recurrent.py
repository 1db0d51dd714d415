"""Recurrent encoder and attending decoder (Bahdanau et al. 2015; Luong et al. 2015)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Unpack

import torch
from torch import Tensor, nn

from attnlab.attention.state import State
from attnlab.config.attention import AttentionConfig
from attnlab.data.vocabulary import Vocabulary
from attnlab.errors import UserError
from attnlab.models.builder import Decoder, Dropout, ModelBuilder, Shared, Units
from attnlab.models.causal_decoder import AttendingCausalDecoder, CausalDecoder
from attnlab.models.memory import Memory
from attnlab.models.units import Scores, whole

CELLS: dict[str, type[nn.LSTM | nn.GRU]] = {"lstm": nn.LSTM, "gru": nn.GRU}


class Recurrent(ModelBuilder):
    """Builder of `model=recurrent`."""

    def __init__(
        self,
        *,
        cell: Literal["lstm", "gru"],
        encoder_layers: int,
        decoder_layers: int,
        embedding_dim: int,
        embedding_std: float,
        bidirectional: bool,
        query: Literal["state", "previous_state"],
        **shared: Unpack[Shared],
    ) -> None:
        super().__init__(**shared)
        self.embedding_dim = embedding_dim
        width_key = "model.embedding_dim" if encoder_layers else "model.dim"
        self.units = Units(self.tie, width_key, embedding_std if self.tie == "none" else None)
        self.bidirectional = bidirectional
        self.stepwise = query == "previous_state"
        self.cell = cell
        self.encoder_layers, self.decoder_layers = encoder_layers, decoder_layers
        self.output_width = self.dim if self.tie == "none" else embedding_dim

    @property
    def embedding_width(self) -> int:
        return self.embedding_dim if self.encoder_layers else self.dim

    def embedding(self, vocabulary: Vocabulary, width: int) -> nn.Module:
        return Embedding(self.units.words(vocabulary, width), Dropout(self.dropout))

    def encoder(self, attention: AttentionConfig, stem: str = "encoder") -> nn.Module:
        return RecurrentEncoder(self) if self.encoder_layers else nn.Identity()

    def decoder(self, vocabulary: int, attention: AttentionConfig) -> Decoder:
        kind = StepwiseDecoder if self.stepwise else RecurrentDecoder
        return kind(self, vocabulary, attention)

    def causal_decoder(self, vocabulary: Vocabulary, attention: AttentionConfig) -> CausalDecoder:
        if self.bidirectional or not self.encoder_layers:
            raise UserError(
                "model.encoder_layers: continuing a text takes a recurrent encoder that reads "
                "forward; try: model.encoder_layers=1 model.bidirectional=false"
            )
        return AttendingCausalDecoder(self, vocabulary, attention)

    def rnn(self, sizes: tuple[int, int], layers: int) -> nn.LSTM | nn.GRU:
        """`sizes` are those of inputs and states."""
        return CELLS[self.cell](
            *sizes,
            layers,
            batch_first=True,
            dropout=self.dropout if layers > 1 else 0.0,
        )


class Embedding(nn.Sequential):
    """Units as vectors, then dropout; a recurrent model counts no positions."""

    @property
    def units(self) -> nn.Embedding:
        """The matrix of the vectors."""
        return self[0]  # type: ignore[return-value]

    def forward(  # type: ignore[override]
        self, units: Tensor, start: int = 0
    ) -> Tensor:
        """batch x length -> batch x length x width."""
        return super().forward(units)


@dataclass
class Hidden:
    """What a cell keeps, layers x batch x dim: one tensor, a pair of them for an LSTM."""

    value: Any = None

    def select(self, rows: Tensor) -> Hidden:
        """That of some of the sequences, in the order of `rows`."""
        if isinstance(self.value, tuple):
            return Hidden(tuple(each[:, rows] for each in self.value))
        return Hidden(None if self.value is None else self.value[:, rows])

    def reorder(self, rows: Tensor) -> None:
        """Go on with these sequences."""
        self.value = self.select(rows).value


class RecurrentEncoder(nn.Module):
    """Recurrent layers, by default in both directions, with a state for every position.

    The backward direction reads each sequence reversed within its own length, so that padding
    comes last in both and no state sees it. (Packed sequences would do the same, but on a CPU a
    GRU over a thousand packed steps took eleven times as long.)
    """

    def __init__(self, builder: Recurrent) -> None:
        super().__init__()
        directions = 2 if builder.bidirectional else 1
        width = builder.dim // directions
        inputs = [builder.embedding_dim, *[builder.dim] * (builder.encoder_layers - 1)]
        self.layers = nn.ModuleList(
            nn.ModuleList(builder.rnn((input_width, width), 1) for _ in range(directions))
            for input_width in inputs
        )
        self.dropout = Dropout(builder.dropout)

    def start(self) -> list[Hidden]:
        """The caches of a causal sequence before its first state, one a layer."""
        return [Hidden() for _ in self.layers]

    def forward(self, inputs: Memory, caches: list[Hidden] | None = None) -> Memory:
        """A memory of width `dim`; with caches, the next states of a longer causal one."""
        states = inputs.values  # batch x length x width
        backward = reversed_positions(inputs.mask)[..., None]  # batch x length x 1
        for (ahead, *back), cache in zip(self.layers, caches or self.start(), strict=True):  # type: ignore[misc]
            forward, cache.value = ahead(states, cache.value)
            outputs = [forward]
            for rnn in back:
                reverse = rnn(states.gather(1, backward.expand_as(states)))[0]
                outputs.append(reverse.gather(1, backward.expand_as(reverse)))
            states = self.dropout(torch.cat(outputs, -1))
        return inputs._replace(values=states)


def reversed_positions(mask: Tensor) -> Tensor:
    """The position of each state after reversal; padding stays: batch x length."""
    position = torch.arange(mask.shape[1], device=mask.device)
    mirrored = mask.sum(1, keepdim=True) - 1 - position
    return torch.where(mask, mirrored, position)


@dataclass
class RecurrentState:
    """What a decoder keeps between two steps."""

    memory: Memory
    hidden: Hidden
    attention: State  # projected keys, earlier maps

    def select(self, rows: Tensor) -> RecurrentState:
        """The state of some of the sequences, in the order of `rows`."""
        return RecurrentState(*(each.select(rows) for each in vars(self).values()))

    def reorder(self, rows: Tensor) -> None:
        """Go on with these sequences; the memory of each row is that of its new sequence."""
        self.hidden.reorder(rows)
        self.attention.reorder(rows)


class RecurrentDecoder(Decoder):
    """The state after reading a unit is the query; the context and the state give the next unit.

    All steps of training run at once, since the attention does not feed back into the states
    (Luong et al. 2015 without input feeding).
    """

    def __init__(self, builder: Recurrent, vocabulary: int, attention: AttentionConfig) -> None:
        super().__init__()
        units = builder.units.embedding(vocabulary, builder.embedding_dim)
        self.embedding = nn.Sequential(units, Dropout(builder.dropout))
        self.bridge = nn.Linear(builder.dim, builder.dim)
        self.attention = builder.attention(attention, "decoder.cross.0")
        context_dim = self.attention.output_dim
        sizes = self._input_dim(builder, context_dim), builder.dim
        self.rnn = builder.rnn(sizes, builder.decoder_layers)
        self.mix = nn.Linear(builder.dim + context_dim, builder.output_width)
        self.dropout = Dropout(builder.dropout)
        self.output = builder.units.output(units, builder.output_width)

    def _input_dim(self, builder: Recurrent, context_dim: int) -> int:
        return builder.embedding_dim

    def forward(self, units: Tensor, memory: Memory) -> Scores:
        """Scores of the next unit after each of `units`: batch x length x vocabulary."""
        states, _ = self.rnn(self.embedding(units), self.first_hidden(memory))
        context = self.attention(states, memory.values, memory.values, memory.visible())
        return self.scores(states, context)

    def start(self, memory: Memory) -> RecurrentState:
        """The state before the first unit."""
        attention = self.attention.start(memory.values, memory.values, memory.visible())
        return RecurrentState(memory, Hidden(self.first_hidden(memory)), attention)

    def step(self, units: Tensor, state: RecurrentState) -> Tensor:
        """Scores of the unit after `units` (batch): batch x vocabulary. Moves the state on."""
        embedded = self.embedding(units[:, None])
        states, state.hidden.value = self.rnn(embedded, state.hidden.value)
        return whole(self.scores(states, self.attend(states, state)))[:, 0]

    def attend(self, query: Tensor, state: RecurrentState) -> Tensor:
        values = state.memory.values
        return self.attention(query, values, values, state.memory.visible(), state=state.attention)

    def scores(self, states: Tensor, context: Tensor) -> Scores:
        mixed = torch.tanh(self.mix(torch.cat([states, context], -1)))  # batch x length x width
        return self.output(self.dropout(mixed))

    def first_hidden(self, memory: Memory) -> Any:
        """The first hidden state of every layer, from the memory through one layer."""
        started = torch.tanh(self.bridge(memory.at_first()))  # batch x dim
        hidden = started.expand(self.rnn.num_layers, -1, -1).contiguous()
        return (hidden, torch.zeros_like(hidden)) if isinstance(self.rnn, nn.LSTM) else hidden


class StepwiseDecoder(RecurrentDecoder):
    """The state before a unit is the query; the context enters the cell (Bahdanau et al. 2015)."""

    def _input_dim(self, builder: Recurrent, context_dim: int) -> int:
        return builder.embedding_dim + context_dim

    def forward(self, units: Tensor, memory: Memory) -> Scores:
        state = self.start(memory)
        steps = [self._advance(one, state) for one in self.embedding(units).split(1, dim=1)]
        states, contexts = (torch.cat(each, 1) for each in zip(*steps, strict=True))
        return self.scores(states, contexts)  # of all steps at once, which is the greater work

    def step(self, units: Tensor, state: RecurrentState) -> Tensor:
        return whole(self.scores(*self._advance(self.embedding(units[:, None]), state)))[:, 0]

    def _advance(self, embedded: Tensor, state: RecurrentState) -> tuple[Tensor, Tensor]:
        """The state after one more unit, batch x 1 x dim, and its context."""
        hidden = state.hidden.value
        top = hidden[0] if isinstance(hidden, tuple) else hidden
        context = self.attend(top[-1][:, None], state)  # batch x 1 x context
        states, state.hidden.value = self.rnn(torch.cat([embedded, context], -1), hidden)
        return states, context
