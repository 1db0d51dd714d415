"""Heads that answer with one choice, one for each unit, or with the map itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from attnlab.attention.probes import Tap
from attnlab.config.attention import AttentionConfig
from attnlab.data.batch import Batch, Padded
from attnlab.data.vocabulary import SPECIAL
from attnlab.models.builder import ModelBuilder, Queries
from attnlab.models.crf import TagChain
from attnlab.models.memory import Memory
from attnlab.models.prediction import AttentionPrediction
from attnlab.models.reader import Reader, Reading


class Pooling(nn.Module):
    """Learned queries look over a memory; the query seed shifts them."""

    def __init__(
        self,
        builder: ModelBuilder,
        attention: AttentionConfig,
        queries: int = 1,
        site: str = "pooling",
    ) -> None:
        super().__init__()
        self.queries = Queries(queries, builder.dim)
        self.attention = builder.attention(attention, site)

    def forward(self, memory: Memory, query_seed: Tensor) -> Tensor:
        """What each query found: batch x queries x dim."""
        queries = self.queries(query_seed)
        return self.attention(queries, memory.values, memory.values, memory.visible())

    def at_every_place(self, memory: Memory) -> Tensor:
        """What the one query finds at each place, which moves it: batch x length x dim."""
        states = memory.values
        queries = self.queries(states.flatten(0, 1)).view_as(states)
        return self.attention(queries, states, states, memory.visible())


class Hops(Pooling):
    """Looks several times, asked each time with what was found before (Sukhbaatar et al. 2015).

    Every look is a call at the same site, and so a row of its map.
    """

    def __init__(self, builder: ModelBuilder, attention: AttentionConfig, hops: int) -> None:
        super().__init__(builder, attention)
        width = builder.dim + self.attention.output_dim
        self.moves = nn.ModuleList(nn.Linear(width, builder.dim) for _ in range(hops))

    def forward(self, memory: Memory, query_seed: Tensor) -> Tensor:
        """What is known after the last look: batch x 1 x dim."""
        query = self.queries(query_seed)
        for move in self.moves:
            found = self.attention(query, memory.values, memory.values, memory.visible())
            query = query + torch.tanh(move(torch.cat([query, found], -1)))
        return query


class Classifier(nn.Module):
    """Answers with a label: what the pooled memory says decides."""

    def __init__(
        self,
        reader: Reader,
        prediction: AttentionPrediction | None,
        builder: ModelBuilder,
        attention: AttentionConfig,
        output: nn.Module,
        hops: int = 1,
        said_by: Mapping[int, Sequence[int]] | None = None,
    ) -> None:
        super().__init__()
        self.reader, self.prediction = reader, prediction
        self.pooling = Pooling(builder, attention) if hops == 1 else Hops(builder, attention, hops)
        self.output, self.said_by = output, said_by

    def forward(self, batch: Batch) -> Tensor:
        """Scores of the labels: batch x 1 x labels."""
        return self.output(self.found(self.reader(batch)))

    def found(self, reading: Reading) -> Tensor:
        memory = self.prediction(reading, 1) if self.prediction else reading.memory
        return self.pooling(memory, reading.query_seed)  # batch x 1 x dim

    def choices(self, batch: Batch) -> Tensor:
        """Scores of what may be the answer: batch x labels, -inf where one may not."""
        scores = self(batch)[:, -1]
        return scores if self.said_by is None else said_together(scores, self.said_by)

    @torch.no_grad()
    def answer(self, batch: Batch) -> Tensor:
        """The most likely label: batch x 1."""
        return self.choices(batch).argmax(-1, keepdim=True)


def said_together(scores: Tensor, said_by: Mapping[int, Sequence[int]]) -> Tensor:
    """Scores (batch x labels) with the chances of all labels that one says at that one."""
    together = torch.full_like(scores, -torch.inf)
    for label, members in said_by.items():
        together[:, label] = scores[:, members].logsumexp(-1)
    return together


class Ranker(Classifier):
    """Answers with an item; its scores rank them all.

    Where it learns from every place of a history, each place says what comes after it, given what
    stands before it (SASRec, Kang & McAuley 2018); what is asked of it later is the last alone.
    """

    def __init__(self, *parts: Any, attended: str, every_place: bool, repeats: bool) -> None:
        super().__init__(*parts)
        self.attended, self.every_place, self.repeats = attended, every_place, repeats

    def found(self, reading: Reading) -> Tensor:
        """batch x 1 x dim; while it learns from every place, batch x length x dim."""
        if self.every_place and self.training:
            return self.pooling.at_every_place(reading.memory)
        memory = reading.memory._replace(causal=False)  # all of it stands before what is asked
        # A model that learns at every position queries with its state, here with the last one.
        seed = memory.last() if self.every_place else reading.query_seed
        return super().found(Reading(memory, seed))

    def choices(self, batch: Batch) -> Tensor:
        return candidates(super().choices(batch), batch.inputs[self.attended], self.repeats)


def candidates(scores: Tensor, history: Padded, repeats: bool) -> Tensor:
    """Scores (batch x all items) in which no mark can win, nor, without repeats, the history."""
    is_mark = torch.arange(scores.shape[-1], device=scores.device) < len(SPECIAL)
    scores = scores.masked_fill(is_mark, -torch.inf)
    return scores if repeats else scores.scatter(-1, history.values, -torch.inf)


class Tagger(nn.Module):
    """Answers with a tag for each word, from its state and what it finds in the others.

    Of a word in pieces the first one answers (Devlin et al. 2019).
    """

    def __init__(
        self,
        reader: Reader,
        builder: ModelBuilder,
        attention: AttentionConfig,
        tags: int,
        chain: TagChain | None,
    ) -> None:
        super().__init__()
        self.reader, self.chain = reader, chain
        self.attention = builder.attention(attention, "tagger.self.0")
        self.output = nn.Linear(2 * builder.dim, tags)

    def forward(self, batch: Batch) -> Tensor:
        """Scores of the tags, in a chain given the gold tag before: batch x words x tags."""
        scores = self.alone(batch)
        if self.chain is None:
            return scores
        mask = self.words(batch).mask
        given = batch.answer.values[:, : mask.shape[1]]  # without the end mark, if there is one
        unknown = given.shape != mask.shape
        tags = self.chain.best(scores, mask) if unknown else given
        return self.chain.given_before(scores, mask, tags)

    def alone(self, batch: Batch) -> Tensor:
        """Scores of the tags of each word by itself: batch x words x tags."""
        memory = self.reader(batch).memory
        states = memory.values
        found = self.attention(states, states, states, memory.visible())
        both = torch.cat([states, found], -1)  # batch x pieces x 2 dim
        places = self.words(batch).values[..., None].expand(-1, -1, both.shape[-1])
        return self.output(both.gather(1, places))

    def words(self, batch: Batch) -> Padded:
        """Where each word begins, and which words are real: batch x words."""
        if batch.words is not None:
            return batch.words.first_pieces()
        mask = batch.inputs[self.reader.attended].mask
        return Padded(torch.arange(mask.shape[1], device=mask.device).expand_as(mask), mask)

    @torch.no_grad()
    def answer(self, batch: Batch) -> Tensor:
        """The most likely tags, nothing in the padding: batch x words."""
        scores, mask = self.alone(batch), self.words(batch).mask
        return scores.argmax(-1) * mask if self.chain is None else self.chain.best(scores, mask)


class Extractor(nn.Module):
    """Answers with one of the units of its input (pointer networks, Vinyals et al. 2015)."""

    def __init__(self, reader: Reader, builder: ModelBuilder, attention: AttentionConfig) -> None:
        super().__init__()
        self.reader = reader
        self.pooling = Pooling(builder, attention)

    def forward(self, batch: Batch) -> Tensor:
        """Logarithm of the weights, the mean over heads: batch x 1 x keys."""
        reading = self.reader(batch)
        with Tap(self, "pooling/heads=mean") as tap:
            self.pooling(reading.memory, reading.query_seed)
        return tap.log_weights()[:, 0]

    @torch.no_grad()
    def answer(self, batch: Batch) -> Tensor:
        """The number of the unit with the greatest weight: batch x 1."""
        return self(batch).argmax(-1)


class Attender(nn.Module):
    """Answers with its map: gaze, saliency."""

    def __init__(
        self, reader: Reader, builder: ModelBuilder, attention: AttentionConfig, rows: int
    ) -> None:
        super().__init__()
        self.reader = reader
        self.pooling = Pooling(builder, attention, rows)

    def forward(self, batch: Batch) -> Tensor:
        """Logarithm of the weights: batch x heads x rows x keys."""
        reading = self.reader(batch)
        with Tap(self, "pooling") as tap:
            self.pooling(reading.memory, reading.query_seed)
        return tap.log_weights()

    @torch.no_grad()
    def answer(self, batch: Batch) -> Tensor:
        """The weights, averaged over heads: batch x rows x keys."""
        return self(batch).exp().mean(1)
