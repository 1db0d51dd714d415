"""Recurrent encoder and attending decoder (Bahdanau et al. 2015; Luong et al. 2015)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Unpack

import torch
from torch import Tensor, nn

from attnlab.config.attention import AttentionConfig
from attnlab.data.vocabulary import Vocabulary
from attnlab.models.builder import Decoder, ModelBuilder, Shared, Units
from attnlab.models.dropout import Dropout
from attnlab.models.memory import Memory

CELLS: dict[str, type[nn.LSTM | nn.GRU]] = {"lstm": nn.LSTM, "gru": nn.GRU}


class Recurrent(ModelBuilder):
    """What `model=recurrent` builds: the parts, with their widths."""

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
        return nn.Sequential(self.units.words(vocabulary, width), Dropout(self.dropout))

    def encoder(self, attention: AttentionConfig, stem: str = "encoder") -> nn.Module:
        return RecurrentEncoder(self) if self.encoder_layers else nn.Identity()

    def decoder(self, vocabulary: int, attention: AttentionConfig) -> Decoder:
        kind = StepwiseDecoder if self.stepwise else RecurrentDecoder
        return kind(self, vocabulary, attention)

    def rnn(self, sizes: tuple[int, int], layers: int) -> nn.LSTM | nn.GRU:
        """`sizes` are those of inputs and states."""
        return CELLS[self.cell](
            *sizes,
            layers,
            batch_first=True,
            dropout=self.dropout if layers > 1 else 0.0,
        )


class RecurrentEncoder(nn.Module):
    """Reads the input, by default both ways; every position keeps a state.

    The way back reads each sequence turned round within its own length, so that padding comes
    last on both ways and is never seen. (Packed sequences would do the same, but on a CPU a GRU
    over a thousand packed steps took eleven times as long.)
    """

    def __init__(self, builder: Recurrent) -> None:
        super().__init__()
        ways = 2 if builder.bidirectional else 1
        inputs = [builder.embedding_dim, *[builder.dim] * (builder.encoder_layers - 1)]
        self.layers = nn.ModuleList(
            nn.ModuleList(builder.rnn((width, builder.dim // ways), 1) for _ in range(ways))
            for width in inputs
        )
        self.dropout = Dropout(builder.dropout)

    def forward(self, inputs: Memory) -> Memory:
        states = inputs.values  # batch x length x width
        turned = turned_round(inputs.mask)[..., None]  # batch x length x 1
        for ahead, *back in self.layers:  # type: ignore[misc]
            read = [ahead(states)[0]]
            for way in back:
                reverse = way(states.gather(1, turned.expand_as(states)))[0]
                read.append(reverse.gather(1, turned.expand_as(reverse)))
            states = self.dropout(torch.cat(read, -1))
        return inputs._replace(values=states)


def turned_round(mask: Tensor) -> Tensor:
    """For each place that which mirrors it among the real ones; padding stays: batch x length."""
    place = torch.arange(mask.shape[1], device=mask.device)
    mirrored = mask.sum(1, keepdim=True) - 1 - place
    return torch.where(mask, mirrored, place)


@dataclass
class RecurrentState:
    """What a decoder remembers between two steps."""

    memory: Memory
    hidden: Any  # what the cell keeps: layers x batch x dim, a pair of them for an LSTM
    attention: Any  # what the mechanism keeps: projected keys, earlier maps

    def select(self, rows: Tensor) -> RecurrentState:
        """The state of some of the sequences, in the order of `rows`."""
        hidden = self._hidden_of(rows)
        return RecurrentState(self.memory.select(rows), hidden, self.attention.select(rows))

    def reorder(self, rows: Tensor) -> None:
        """Go on with these sequences, each of which has the memory of the one in its place."""
        self.hidden = self._hidden_of(rows)
        self.attention.reorder(rows)

    def _hidden_of(self, rows: Tensor) -> Any:
        if isinstance(self.hidden, tuple):
            return tuple(h[:, rows] for h in self.hidden)
        return self.hidden[:, rows]


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

    def forward(self, units: Tensor, memory: Memory) -> Tensor:
        """Scores of the next unit after each of `units`: batch x length x vocabulary."""
        states, _ = self.rnn(self.embedding(units), self.first_hidden(memory))
        context = self.attention(states, memory.values, memory.values, memory.visible())
        return self.scores(states, context)

    def start(self, memory: Memory) -> RecurrentState:
        """The state before the first unit."""
        attention = self.attention.start(memory.values, memory.values, memory.visible())
        return RecurrentState(memory, self.first_hidden(memory), attention)

    def step(self, units: Tensor, state: RecurrentState) -> Tensor:
        """Scores of the unit after `units` (batch): batch x vocabulary. Moves the state on."""
        states, state.hidden = self.rnn(self.embedding(units[:, None]), state.hidden)
        return self.scores(states, self.attend(states, state))[:, 0]

    def attend(self, query: Tensor, state: RecurrentState) -> Tensor:
        values = state.memory.values
        return self.attention(query, values, values, state.memory.visible(), state=state.attention)

    def scores(self, states: Tensor, context: Tensor) -> Tensor:
        mixed = torch.tanh(self.mix(torch.cat([states, context], -1)))  # batch x length x width
        return self.output(self.dropout(mixed))

    def first_hidden(self, memory: Memory) -> Any:
        """What the memory shows at first, through one layer, starts every layer of the decoder."""
        started = torch.tanh(self.bridge(memory.at_first()))  # batch x dim
        hidden = started.expand(self.rnn.num_layers, -1, -1).contiguous()
        return (hidden, torch.zeros_like(hidden)) if isinstance(self.rnn, nn.LSTM) else hidden


class StepwiseDecoder(RecurrentDecoder):
    """The state before a unit is the query; the context enters the cell (Bahdanau et al. 2015)."""

    def _input_dim(self, builder: Recurrent, context_dim: int) -> int:
        return builder.embedding_dim + context_dim

    def forward(self, units: Tensor, memory: Memory) -> Tensor:
        state = self.start(memory)
        steps = [self._advance(one, state) for one in self.embedding(units).split(1, dim=1)]
        states, contexts = (torch.cat(each, 1) for each in zip(*steps, strict=True))
        return self.scores(states, contexts)  # of all steps at once, which is the greater work

    def step(self, units: Tensor, state: RecurrentState) -> Tensor:
        return self.scores(*self._advance(self.embedding(units[:, None]), state))[:, 0]

    def _advance(self, embedded: Tensor, state: RecurrentState) -> tuple[Tensor, Tensor]:
        """The state after one more unit, batch x 1 x dim, and what was found for it."""
        top = state.hidden[0] if isinstance(state.hidden, tuple) else state.hidden
        context = self.attend(top[-1][:, None], state)  # batch x 1 x context
        states, state.hidden = self.rnn(torch.cat([embedded, context], -1), state.hidden)
        return states, context
