"""Recurrent encoder and attending decoder (Bahdanau et al. 2015; Luong et al. 2015)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Unpack

import torch
from torch import Tensor, nn

from attnlab.config.attention import AttentionConfig
from attnlab.models.memory import Memory
from attnlab.models.parts import Parts, Shared

CELLS: dict[str, type[nn.LSTM | nn.GRU]] = {"lstm": nn.LSTM, "gru": nn.GRU}


class Recurrent(Parts):
    """What `model=recurrent` builds: the parts, with their widths."""

    def __init__(
        self,
        *,
        cell: Literal["lstm", "gru"],
        encoder_layers: int,
        decoder_layers: int,
        embedding_dim: int,
        bidirectional: bool,
        query: Literal["state", "previous_state"],
        **shared: Unpack[Shared],
    ) -> None:
        super().__init__(**shared)
        self.embedding_dim = embedding_dim
        self.bidirectional = bidirectional
        self.stepwise = query == "previous_state"
        self.cell = cell
        self.encoder_layers, self.decoder_layers = encoder_layers, decoder_layers

    @property
    def front_width(self) -> int:
        return self.embedding_dim if self.encoder_layers else self.dim

    def embedding(self, vocabulary: int, width: int) -> nn.Module:
        embedding = nn.Embedding(vocabulary, width, padding_idx=0)
        return nn.Sequential(embedding, nn.Dropout(self.dropout))

    def encoder(self) -> nn.Module:
        return RecurrentEncoder(self) if self.encoder_layers else nn.Identity()

    def decoder(self, vocabulary: int, attention: AttentionConfig) -> nn.Module:
        kind = StepwiseDecoder if self.stepwise else RecurrentDecoder
        return kind(self, vocabulary, attention)

    def rnn(self, sizes: tuple[int, int], layers: int, both_ways: bool) -> nn.LSTM | nn.GRU:
        """`sizes` are those of inputs and states."""
        return CELLS[self.cell](
            *sizes,
            layers,
            batch_first=True,
            bidirectional=both_ways,
            dropout=self.dropout if layers > 1 else 0.0,
        )


class RecurrentEncoder(nn.Module):
    """Reads the input, by default both ways; every position keeps a state."""

    def __init__(self, parts: Recurrent) -> None:
        super().__init__()
        directions = 2 if parts.bidirectional else 1
        sizes = parts.embedding_dim, parts.dim // directions
        self.rnn = parts.rnn(sizes, parts.encoder_layers, parts.bidirectional)
        self.dropout = nn.Dropout(parts.dropout)

    def forward(self, inputs: Memory) -> Memory:
        lengths = inputs.mask.sum(1).clamp_min(1).cpu()
        packed = nn.utils.rnn.pack_padded_sequence(
            inputs.values, lengths, batch_first=True, enforce_sorted=False
        )
        states, _ = nn.utils.rnn.pad_packed_sequence(
            self.rnn(packed)[0], batch_first=True, total_length=inputs.values.shape[1]
        )  # batch x length x dim
        return inputs._replace(values=self.dropout(states))


@dataclass
class RecurrentState:
    """What a decoder remembers between two steps."""

    memory: Memory
    hidden: Any  # what the cell keeps: layers x batch x dim, a pair of them for an LSTM
    attention: Any  # what the mechanism keeps: projected keys, earlier maps

    def select(self, rows: Tensor) -> RecurrentState:
        """The state of some of the sequences, in the order of `rows`."""
        hidden = (
            tuple(h[:, rows] for h in self.hidden)
            if isinstance(self.hidden, tuple)
            else self.hidden[:, rows]
        )
        return RecurrentState(self.memory.select(rows), hidden, self.attention.select(rows))


class RecurrentDecoder(nn.Module):
    """The state after reading a unit asks; what it finds and the state give the next unit.

    All steps of training run at once, since the attention does not feed back into the states
    (Luong et al. 2015 without input feeding).
    """

    def __init__(self, parts: Recurrent, vocabulary: int, attention: AttentionConfig) -> None:
        super().__init__()
        self.embedding = parts.embedding(vocabulary, parts.embedding_dim)
        self.bridge = nn.Linear(parts.dim, parts.dim)
        self.attention = parts.attention(attention, "decoder.cross.0")
        context_dim = self.attention.output_dim
        sizes = self._input_dim(parts, context_dim), parts.dim
        self.rnn = parts.rnn(sizes, parts.decoder_layers, both_ways=False)
        self.mix = nn.Linear(parts.dim + context_dim, parts.dim)
        self.dropout = nn.Dropout(parts.dropout)
        self.output = nn.Linear(parts.dim, vocabulary)

    def _input_dim(self, parts: Recurrent, context_dim: int) -> int:
        return parts.embedding_dim

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
        mixed = torch.tanh(self.mix(torch.cat([states, context], -1)))  # batch x length x dim
        return self.output(self.dropout(mixed))

    def first_hidden(self, memory: Memory) -> Any:
        """The mean of the memory, through one layer, starts every layer of the decoder."""
        started = torch.tanh(self.bridge(memory.mean()))  # batch x dim
        hidden = started.expand(self.rnn.num_layers, -1, -1).contiguous()
        return (hidden, torch.zeros_like(hidden)) if isinstance(self.rnn, nn.LSTM) else hidden


class StepwiseDecoder(RecurrentDecoder):
    """The state before reading a unit asks; the context enters the cell (Bahdanau et al. 2015)."""

    def _input_dim(self, parts: Recurrent, context_dim: int) -> int:
        return parts.embedding_dim + context_dim

    def forward(self, units: Tensor, memory: Memory) -> Tensor:
        state = self.start(memory)
        steps = [self.step(unit, state) for unit in units.unbind(1)]
        return torch.stack(steps, 1)

    def step(self, units: Tensor, state: RecurrentState) -> Tensor:
        top = state.hidden[0] if isinstance(state.hidden, tuple) else state.hidden
        context = self.attend(top[-1][:, None], state)  # batch x 1 x context
        inputs = torch.cat([self.embedding(units[:, None]), context], -1)
        states, state.hidden = self.rnn(inputs, state.hidden)
        return self.scores(states, context)[:, 0]
