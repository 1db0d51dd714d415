"""The whole model: an input becomes a memory, and a head answers from it."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn

from attnlab.attention.mask import Mask
from attnlab.attention.mechanism import Attention
from attnlab.config.attention import AttentionConfig
from attnlab.config.schema import Config
from attnlab.data.batch import Batch, Padded
from attnlab.data.codec import Codec
from attnlab.data.vocabulary import BOS, EOS, PAD, Vocabulary
from attnlab.errors import UserError


class Parts(Protocol):
    """What a kind of model has to offer: its building blocks, of matching widths."""

    dim: int

    def embedding(self, vocabulary: int) -> nn.Module: ...
    def encoder(self, attention: AttentionConfig) -> nn.Module: ...
    def decoder(self, vocabulary: int, attention: AttentionConfig) -> nn.Module: ...


class Reader(nn.Module):
    """Units of one text input to a memory."""

    def __init__(self, embedding: nn.Module, encoder: nn.Module, reads: str) -> None:
        super().__init__()
        self.embedding, self.encoder, self.reads = embedding, encoder, reads

    def forward(self, batch: Batch) -> Padded:
        inputs = batch.inputs[self.reads]
        return self.encoder(Padded(self.embedding(inputs.values), inputs.mask))


class Generator(nn.Module):
    """Answers with units, one after the other."""

    def __init__(self, reader: Reader, decoder: nn.Module, max_length: int) -> None:
        super().__init__()
        self.reader, self.decoder, self.max_length = reader, decoder, max_length

    def forward(self, batch: Batch) -> Tensor:
        """Scores of each unit of the gold answer, given those before it: batch x length x vocabulary."""
        return self.decoder(shifted(batch.answer.values), self.reader(batch))

    @torch.no_grad()
    def answer(self, batch: Batch) -> Tensor:
        """The most likely unit at every step (greedy): batch x length, ending with the end mark."""
        state = self.decoder.start(self.reader(batch))
        units = batch.index.new_full((len(batch),), BOS)
        ended = torch.zeros_like(units, dtype=torch.bool)
        answers: list[Tensor] = []
        for _ in range(self.max_length):
            units = self.decoder.step(units, state).argmax(-1).masked_fill(ended, PAD)
            answers.append(units)
            ended = ended | (units == EOS)
            if ended.all():
                break
        return torch.stack(answers, 1)


def shifted(answer: Tensor) -> Tensor:
    """What the decoder reads: the begin mark, then the answer without its last unit."""
    begin = torch.full_like(answer[:, :1], BOS)
    return torch.cat([begin, answer[:, :-1]], 1)  # batch x length


class Classifier(nn.Module):
    """Answers with a label: a learned query looks over the memory, what it finds decides."""

    def __init__(self, reader: Reader, dim: int, labels: int, attention: AttentionConfig) -> None:
        super().__init__()
        self.reader = reader
        self.query = nn.Parameter(dim**-0.5 * torch.randn(dim))
        self.attention = Attention(
            attention, query_dim=dim, key_dim=dim, value_dim=dim, output_dim=dim, site="pooling"
        )
        self.output = nn.Linear(self.attention.output_dim, labels)

    def forward(self, batch: Batch) -> Tensor:
        """Scores of the labels: batch x 1 x labels."""
        memory = self.reader(batch)
        query = self.query.expand(len(batch), 1, -1)  # batch x 1 x dim
        mask = Mask(keys=memory.mask)
        return self.output(self.attention(query, memory.values, memory.values, mask))

    @torch.no_grad()
    def answer(self, batch: Batch) -> Tensor:
        """The most likely label: batch x 1."""
        return self(batch).argmax(-1)


def build_model(config: Config, codec: Codec) -> nn.Module:
    """The model that a config describes, for the vocabularies of the data."""
    parts: Parts = config.model.build()
    reads = codec.looks_at
    if reads not in codec.texts:
        raise UserError(f"model.kind: '{config.model.kind}' reads text; {reads} is none")
    encoder = parts.encoder(config.attention)
    reader = Reader(parts.embedding(len(codec.texts[reads])), encoder, reads)
    return HEADS[config.task.kind](config, codec, parts, reader)


def _generator(config: Any, codec: Codec, parts: Parts, reader: Reader) -> nn.Module:
    if not isinstance(codec.answers, Vocabulary):
        raise UserError("task.kind: 'generate' needs answers of units; did you mean 'classify'?")
    decoder = parts.decoder(len(codec.answers), config.attention)
    return Generator(reader, decoder, config.task.max_length)


def _classifier(config: Config, codec: Codec, parts: Parts, reader: Reader) -> nn.Module:
    if isinstance(codec.answers, Vocabulary):
        raise UserError("task.kind: 'classify' needs labels; did you mean 'generate'?")
    return Classifier(reader, parts.dim, len(codec.answers), config.attention)


HEADS = {"generate": _generator, "classify": _classifier}
