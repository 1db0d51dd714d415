"""Recurrent encoder and attending decoder (Bahdanau et al. 2015; Luong et al. 2015)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from attnlab.attention.mask import Mask
from attnlab.attention.mechanism import Attention
from attnlab.config.attention import AttentionConfig
from attnlab.data.batch import Padded

CELLS: dict[str, type[nn.LSTM | nn.GRU]] = {"lstm": nn.LSTM, "gru": nn.GRU}


class Recurrent:
    """What `model=recurrent` builds: the parts, with their widths."""

    def __init__(
        self,
        *,
        dim: int,
        dropout: float,
        cell: Literal["lstm", "gru"],
        layers: int,
        embedding_dim: int,
        bidirectional: bool,
        query: Literal["state", "previous_state"],
    ) -> None:
        self.dim = dim
        self.embedding_dim = embedding_dim
        self.dropout = dropout
        self.bidirectional = bidirectional
        self.stepwise = query == "previous_state"
        self.cell, self.layers = cell, layers

    def embedding(self, vocabulary: int) -> nn.Module:
        embedding = nn.Embedding(vocabulary, self.embedding_dim, padding_idx=0)
        return nn.Sequential(embedding, nn.Dropout(self.dropout))

    def encoder(self, attention: AttentionConfig) -> nn.Module:
        return RecurrentEncoder(self)

    def decoder(self, vocabulary: int, attention: AttentionConfig) -> nn.Module:
        kind = StepwiseDecoder if self.stepwise else RecurrentDecoder
        return kind(self, vocabulary, attention)

    def rnn(self, input_dim: int, hidden: int, bidirectional: bool = False) -> nn.LSTM | nn.GRU:
        return CELLS[self.cell](
            input_dim,
            hidden,
            self.layers,
            batch_first=True,
            bidirectional=bidirectional,
            dropout=self.dropout if self.layers > 1 else 0.0,
        )


class RecurrentEncoder(nn.Module):
    """Reads the input, by default both ways; every position keeps a state."""

    def __init__(self, parts: Recurrent) -> None:
        super().__init__()
        directions = 2 if parts.bidirectional else 1
        self.rnn = parts.rnn(parts.embedding_dim, parts.dim // directions, parts.bidirectional)
        self.dropout = nn.Dropout(parts.dropout)
        self.dim = parts.dim // directions * directions

    def forward(self, inputs: Padded) -> Padded:
        lengths = inputs.mask.sum(1).clamp_min(1).cpu()
        packed = nn.utils.rnn.pack_padded_sequence(
            inputs.values, lengths, batch_first=True, enforce_sorted=False
        )
        states, _ = nn.utils.rnn.pad_packed_sequence(
            self.rnn(packed)[0], batch_first=True, total_length=inputs.values.shape[1]
        )  # batch x length x dim
        return Padded(self.dropout(states), inputs.mask)


@dataclass
class RecurrentState:
    """What a decoder remembers between two steps."""

    memory: Padded
    hidden: Any  # what the cell keeps: layers x batch x dim, a pair of them for an LSTM
    attention: Any  # what the mechanism keeps: projected keys, earlier maps

    def select(self, rows: Tensor) -> RecurrentState:
        """The state of some of the sequences, in the order of `rows`."""
        hidden = (
            tuple(h[:, rows] for h in self.hidden)
            if isinstance(self.hidden, tuple)
            else self.hidden[:, rows]
        )
        memory = Padded(self.memory.values[rows], self.memory.mask[rows])
        return RecurrentState(memory, hidden, self.attention.select(rows))


class RecurrentDecoder(nn.Module):
    """The state after reading a unit asks; what it finds and the state give the next unit.

    All steps of training run at once, since the attention does not feed back into the states
    (Luong et al. 2015 without input feeding).
    """

    def __init__(self, parts: Recurrent, vocabulary: int, attention: AttentionConfig) -> None:
        super().__init__()
        self.embedding = parts.embedding(vocabulary)
        self.bridge = nn.Linear(parts.dim, parts.dim)
        self.attention = Attention(
            attention,
            query_dim=parts.dim,
            key_dim=parts.dim,
            value_dim=parts.dim,
            output_dim=parts.dim,
            site="decoder.cross.0",
        )
        context_dim = self.attention.output_dim
        self.rnn = parts.rnn(self._input_dim(parts, context_dim), parts.dim)
        self.mix = nn.Linear(parts.dim + context_dim, parts.dim)
        self.dropout = nn.Dropout(parts.dropout)
        self.output = nn.Linear(parts.dim, vocabulary)

    def _input_dim(self, parts: Recurrent, context_dim: int) -> int:
        return parts.embedding_dim

    def forward(self, units: Tensor, memory: Padded) -> Tensor:
        """Scores of the next unit after each of `units`: batch x length x vocabulary."""
        states, _ = self.rnn(self.embedding(units), self.first_hidden(memory))
        context = self.attention(states, memory.values, memory.values, Mask(keys=memory.mask))
        return self.scores(states, context)

    def start(self, memory: Padded) -> RecurrentState:
        """The state before the first unit."""
        keys = Mask(keys=memory.mask)
        attention = self.attention.start(memory.values, memory.values, keys)
        return RecurrentState(memory, self.first_hidden(memory), attention)

    def step(self, units: Tensor, state: RecurrentState) -> Tensor:
        """Scores of the unit after `units` (batch): batch x vocabulary. Moves the state on."""
        states, state.hidden = self.rnn(self.embedding(units[:, None]), state.hidden)
        return self.scores(states, self.attend(states, state))[:, 0]

    def attend(self, query: Tensor, state: RecurrentState) -> Tensor:
        memory = state.memory
        mask = Mask(keys=memory.mask)
        return self.attention(query, memory.values, memory.values, mask, state=state.attention)

    def scores(self, states: Tensor, context: Tensor) -> Tensor:
        mixed = torch.tanh(self.mix(torch.cat([states, context], -1)))  # batch x length x dim
        return self.output(self.dropout(mixed))

    def first_hidden(self, memory: Padded) -> Any:
        """The mean of the memory, through one layer, starts every layer of the decoder."""
        real = memory.mask[..., None]
        mean = (memory.values * real).sum(1) / real.sum(1).clamp_min(1)  # batch x dim
        hidden = torch.tanh(self.bridge(mean)).expand(self.rnn.num_layers, -1, -1).contiguous()
        return (hidden, torch.zeros_like(hidden)) if isinstance(self.rnn, nn.LSTM) else hidden


class StepwiseDecoder(RecurrentDecoder):
    """The state before reading a unit asks; the context enters the cell (Bahdanau et al. 2015)."""

    def _input_dim(self, parts: Recurrent, context_dim: int) -> int:
        return parts.embedding_dim + context_dim

    def forward(self, units: Tensor, memory: Padded) -> Tensor:
        state = self.start(memory)
        steps = [self.step(unit, state) for unit in units.unbind(1)]
        return torch.stack(steps, 1)

    def step(self, units: Tensor, state: RecurrentState) -> Tensor:
        top = state.hidden[0] if isinstance(state.hidden, tuple) else state.hidden
        context = self.attend(top[-1][:, None], state)  # batch x 1 x context
        inputs = torch.cat([self.embedding(units[:, None]), context], -1)
        states, state.hidden = self.rnn(inputs, state.hidden)
        return self.scores(states, context)[:, 0]
