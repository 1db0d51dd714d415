"""Heads that answer with one choice, one for each unit, or with the map itself."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from attnlab.attention.probes import Tap
from attnlab.config.attention import AttentionConfig
from attnlab.data.batch import Batch
from attnlab.models.memory import Memory
from attnlab.models.parts import Parts, Queries
from attnlab.models.prediction import AttentionPrediction
from attnlab.models.reader import Reader, Reading

RANKED = 10  # items that a ranking names


class Pooling(nn.Module):
    """Learned queries look over a memory; what the input asks moves them."""

    def __init__(self, parts: Parts, attention: AttentionConfig, queries: int = 1) -> None:
        super().__init__()
        self.queries = Queries(queries, parts.dim)
        self.attention = parts.attention(attention, "pooling")

    def forward(self, memory: Memory, asks: Tensor) -> Tensor:
        """What each query found: batch x queries x dim."""
        queries = self.queries(asks)
        return self.attention(queries, memory.values, memory.values, memory.visible())


class Classifier(nn.Module):
    """Answers with a label: what the pooled memory says decides."""

    def __init__(
        self,
        reader: Reader,
        prediction: AttentionPrediction | None,
        parts: Parts,
        attention: AttentionConfig,
        output: nn.Module,
    ) -> None:
        super().__init__()
        self.reader, self.prediction = reader, prediction
        self.pooling = Pooling(parts, attention)
        self.output = output

    def forward(self, batch: Batch) -> Tensor:
        """Scores of the labels: batch x 1 x labels."""
        return self.output(self.found(self.reader(batch)))

    def found(self, reading: Reading) -> Tensor:
        memory = self.prediction(reading, 1) if self.prediction else reading.memory
        return self.pooling(memory, reading.asks)  # batch x 1 x dim

    @torch.no_grad()
    def answer(self, batch: Batch) -> Tensor:
        """The most likely label: batch x 1."""
        return self(batch).argmax(-1)


class Ranker(Classifier):
    """Answers with a ranking of all items."""

    @torch.no_grad()
    def answer(self, batch: Batch) -> Tensor:
        """The most likely items, best first: batch x ranks."""
        scores = self(batch)[:, 0]
        return scores.topk(min(RANKED, scores.shape[-1])).indices


class Tagger(nn.Module):
    """Answers with a tag for each unit, from its state and what it finds in the others."""

    def __init__(self, reader: Reader, parts: Parts, attention: AttentionConfig, tags: int) -> None:
        super().__init__()
        self.reader = reader
        self.attention = parts.attention(attention, "tagger.self.0")
        self.output = nn.Linear(2 * parts.dim, tags)

    def forward(self, batch: Batch) -> Tensor:
        """Scores of the tags: batch x length x tags."""
        memory = self.reader(batch).memory
        states = memory.values
        found = self.attention(states, states, states, memory.visible())
        return self.output(torch.cat([states, found], -1))

    @torch.no_grad()
    def answer(self, batch: Batch) -> Tensor:
        """The most likely tag of each unit, nothing in the padding: batch x length."""
        mask = batch.inputs[self.reader.looks_at].mask
        return self(batch).argmax(-1) * mask


class Attender(nn.Module):
    """Answers with its map: gaze, saliency."""

    def __init__(self, reader: Reader, parts: Parts, attention: AttentionConfig, rows: int) -> None:
        super().__init__()
        self.reader = reader
        self.pooling = Pooling(parts, attention, rows)

    def forward(self, batch: Batch) -> Tensor:
        """Logarithm of the weights: batch x heads x rows x keys."""
        reading = self.reader(batch)
        with Tap(self, "pooling") as tap:
            self.pooling(reading.memory, reading.asks)
        return tap.log_weights()

    @torch.no_grad()
    def answer(self, batch: Batch) -> Tensor:
        """The weights, averaged over heads: batch x rows x keys."""
        return self(batch).exp().mean(1)
