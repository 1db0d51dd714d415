"""`Subject`: a model, some examples and the answers that are to be explained.

Every explanation says how much each unit that the model attends to counts for each decision. A
decision is one choice among several: a label, an item, a unit of a text given those before it, a
tag. What is explained is its log odds, which do not saturate as a probability does. A unit is
erased by showing the model, in its place, what its embedder sees in an empty input: no unit at this
place, a black picture, silence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from attnlab.data.batch import Batch, Padded
from attnlab.data.vocabulary import EOS
from attnlab.errors import UserError
from attnlab.models.generator import Generator
from attnlab.models.heads import Classifier, Tagger
from attnlab.models.memory import Memory
from attnlab.models.reader import Reader


@dataclass(frozen=True)
class Subject:
    """The answers stay fixed: each unit of a text is explained given the units before it."""

    model: nn.Module
    site: str  # selector of the map that is judged
    batch: Batch  # with the answers to be explained in the place of gold
    seen: Memory  # what the embedder sees: batch x keys x width
    blank: Tensor  # what it sees in an empty input: batch x keys x width
    at_once: int  # variants of examples that fit into memory together

    @classmethod
    @torch.no_grad()
    def of(cls, model: nn.Module, site: str, batch: Batch, answer: Padded | None = None) -> Subject:
        """The model's own answers are explained unless others are given."""
        answered = replace(batch, answer=answer or decided(model, batch))
        reader = reader_of(model)
        embedder = reader.embedder
        inputs = batch.inputs[reader.attended]
        empty = Padded(torch.zeros_like(inputs.values), inputs.mask)
        return cls(model, site, answered, embedder(inputs), embedder(empty).values, len(batch))

    def __len__(self) -> int:
        return len(self.batch)

    @property
    def keys(self) -> Tensor:
        """Which units are real: batch x keys, bool."""
        return self.seen.mask

    @property
    def decisions(self) -> Tensor:
        """Which decisions are real: batch x queries, bool."""
        return self.batch.answer.mask

    @property
    def places(self) -> Tensor:
        """Which cells of an explanation are real: batch x queries x keys, bool."""
        return self.decisions[:, :, None] & self.keys[:, None, :]

    def select(self, examples: Tensor) -> Subject:
        """Some of the examples, an example as often as it is named."""
        return replace(
            self,
            batch=_selected(self.batch, examples),
            seen=self.seen.select(examples),
            blank=self.blank[examples],
        )

    def scores(self, values: Tensor | None = None) -> Tensor:
        """Scores of all choices, with `values` in the place of what the embedder saw.

        batch x queries x choices; -inf for what may not be answered.
        """
        if values is None:
            return self._scores()
        with _shown(reader_of(self.model), self.seen._replace(values=values)):
            return self._scores()

    def log_odds(self, values: Tensor | None = None) -> Tensor:
        """log p / (1 - p) of each decision, from scores: batch x queries."""
        scores = self.scores(values)
        chosen = self._choices[..., None]
        others = scores.scatter(-1, chosen, -torch.inf).logsumexp(-1)
        return scores.gather(-1, chosen)[..., 0] - others

    def probabilities(self, values: Tensor | None = None) -> Tensor:
        """Of each decision: batch x queries."""
        return self.scores(values).softmax(-1).gather(-1, self._choices[..., None])[..., 0]

    def distributions(self) -> Tensor:
        """Over all choices: batch x queries x choices."""
        return self.scores().softmax(-1)

    def of_decisions(self, rows: Tensor) -> Tensor:
        """Rows of a map, one for each decision.

        Where words are tagged it is that of the first piece; several looks that lead to one answer
        count alike.
        """
        if isinstance(self.model, Classifier):
            return rows.mean(1, keepdim=True)
        if not isinstance(self.model, Tagger):
            return rows
        places = self.model.words(self.batch).values[..., None]
        return rows.gather(1, places.expand(-1, -1, rows.shape[-1]))

    @torch.no_grad()
    def where_kept(self, kept: Tensor, measure: Callable[[Subject, Tensor], Tensor]) -> Tensor:
        """A measure of each decision where only some units are kept.

        kept is batch x variants x keys, bool; gives batch x variants x queries.
        """
        variants = kept.shape[1]
        flat = kept.flatten(0, 1)
        owner = torch.arange(len(self), device=kept.device).repeat_interleave(variants)
        found: list[Tensor] = []
        for some in torch.arange(len(flat), device=kept.device).split(self.at_once):
            part = self.select(owner[some])
            values = torch.where(flat[some][..., None], part.seen.values, part.blank)
            found.append(measure(part, values))
        return torch.cat(found).unflatten(0, (len(self), variants))

    def _scores(self) -> Tensor:
        if isinstance(self.model, Classifier):
            return self.model.choices(self.batch)[:, None]
        return self.model(self.batch)

    @property
    def _choices(self) -> Tensor:
        return self.batch.answer.values


def decided(model: nn.Module, batch: Batch) -> Padded:
    """What the model answers: batch x queries, and which of these decisions are real."""
    if isinstance(model, Generator):
        answer = model.answer(batch)
        ended = (answer == EOS).long().cumsum(1) - (answer == EOS).long()  # marks before this unit
        return Padded(answer, ended == 0)
    if isinstance(model, Tagger):
        return Padded(model.answer(batch), model.words(batch).mask)
    if isinstance(model, Classifier):
        answer = model.answer(batch)
        return Padded(answer, torch.ones_like(answer, dtype=torch.bool))
    kind = type(model).__name__
    raise UserError(
        f"{kind} makes no choice that could be explained; "
        "tasks that do: classify, generate, rank, tag"
    )


def reader_of(model: nn.Module) -> Reader:
    """The part of a model that reads its inputs."""
    reader = model.reader
    assert isinstance(reader, Reader)
    return reader


@contextmanager
def _shown(reader: Reader, memory: Memory) -> Iterator[None]:
    """The encoder reads this memory, whatever the input is."""
    place = reader.names.index(reader.attended)
    embedder = reader.embedders[place]
    reader.embedders[place] = _Shows(memory)
    try:
        yield
    finally:
        reader.embedders[place] = embedder


class _Shows(nn.Module):
    """Stands where a embedder was."""

    def __init__(self, memory: Memory) -> None:
        super().__init__()
        self.memory = memory

    def forward(self, inputs: Padded) -> Memory:
        return self.memory


def _selected(batch: Batch, examples: Tensor) -> Batch:
    def some(padded: Padded) -> Padded:
        return Padded(padded.values[examples], padded.mask[examples])

    return Batch(
        {name: some(padded) for name, padded in batch.inputs.items()},
        some(batch.answer),
        batch.target.select(examples),
        batch.index[examples],
        batch.words and batch.words.select(examples),
    )
