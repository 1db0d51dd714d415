"""`Subject`: a model, some examples and the answers that are to be explained.

An explanation attributes each decision of an answer to the units that the model attends to. A
decision is a label, an item, a unit of a text given those before it, a tag, a number; the task says
which number of it is explained (`Task.evidence`: the log odds of a choice). A unit is erased by
replacing its vector with what the embedder makes of an empty input: no unit at this position, a
black picture, silence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from attnlab.data.batch import Batch, Padded
from attnlab.models.memory import Memory, Reader
from attnlab.tasks.task import Task


@dataclass(frozen=True)
class Subject:
    """The answers stay fixed: each unit of a text is explained given the units before it."""

    model: nn.Module
    task: Task
    site: str  # selector of the map that is tested
    batch: Batch  # with the answers to be explained in the place of gold
    embedded: Memory  # what the embedder makes of the attended input: batch x keys x width
    blank: Tensor  # what it makes of an empty one: batch x keys x width
    at_once: int  # variants of examples that fit into memory together

    @classmethod
    @torch.no_grad()
    def of(
        cls,
        model: nn.Module,
        task: Task,
        batch: Batch,
        answer: Padded | None = None,
        site: str | None = None,
    ) -> Subject:
        """The model's own answers and the task's map, unless others are given."""
        answered = replace(batch, answer=answer or task.decide(model, batch))
        reader = reader_of(model)
        embedded, blank = reader.embedder(batch.inputs[reader.attended]), reader.blank(batch)
        return cls(model, task, site or task.map, answered, embedded, blank, len(batch))

    def __len__(self) -> int:
        return len(self.batch)

    @property
    def keys(self) -> Tensor:
        """Which units are real: batch x keys, bool."""
        return self.embedded.mask

    @property
    def decisions(self) -> Tensor:
        """Which decisions are real: batch x decisions, bool."""
        return self.batch.answer.mask

    @property
    def cells(self) -> Tensor:
        """Which cells of an explanation are real: batch x decisions x keys, bool."""
        return self.decisions[:, :, None] & self.keys[:, None, :]

    def select(self, examples: Tensor) -> Subject:
        """Some of the examples, an example as often as it is named."""
        return replace(
            self,
            batch=self.batch.select(examples),
            embedded=self.embedded.select(examples),
            blank=self.blank[examples],
        )

    def outcomes(self, values: Tensor | None = None) -> Tensor:
        """What each decision is made from, with `values` in the place of the embedded input.

        batch x decisions x width: scores of all choices, -inf for what may not be chosen.
        """
        if values is None:
            return self.task.outcomes(self.model, self.batch)
        with _reading(reader_of(self.model), self.embedded._replace(values=values)):
            return self.task.outcomes(self.model, self.batch)

    def evidence(self, values: Tensor | None = None) -> Tensor:
        """The number that is explained, of each decision: batch x decisions."""
        return self.task.evidence(self.outcomes(values), self.batch.answer.values)

    def confidence(self, values: Tensor | None = None) -> Tensor:
        """How far the model still makes each decision, from 0 to 1: batch x decisions."""
        return self.task.confidence(self.outcomes(values), self.batch.answer.values)

    def of_decisions(self, rows: Tensor) -> Tensor:
        """Rows of a map, one for each decision."""
        return self.task.decision_rows(self.model, self.batch, rows)

    @torch.no_grad()
    def where_kept(self, kept: Tensor, measure: Callable[[Subject, Tensor], Tensor]) -> Tensor:
        """A measure of each decision where only some units are kept.

        kept is batch x variants x keys, bool; gives batch x variants x decisions.
        """
        variants = kept.shape[1]
        flat = kept.flatten(0, 1)
        owner = torch.arange(len(self), device=kept.device).repeat_interleave(variants)
        measured: list[Tensor] = []
        for some in torch.arange(len(flat), device=kept.device).split(self.at_once):
            part = self.select(owner[some])
            values = torch.where(flat[some][..., None], part.embedded.values, part.blank)
            measured.append(measure(part, values))
        return torch.cat(measured).unflatten(0, (len(self), variants))


def reader_of(model: nn.Module) -> Reader:
    """The part of a model that reads its inputs."""
    reader = model.reader
    assert isinstance(reader, Reader)
    return reader


@contextmanager
def _reading(reader: Reader, memory: Memory) -> Iterator[None]:
    """The encoder reads this memory, whatever the input is."""
    number = reader.names.index(reader.attended)
    embedder = reader.embedders[number]
    reader.embedders[number] = _Embedded(memory)
    try:
        yield
    finally:
        reader.embedders[number] = embedder


class _Embedded(nn.Module):
    """Placeholder that replaces an embedder."""

    def __init__(self, memory: Memory) -> None:
        super().__init__()
        self.memory = memory

    def forward(self, inputs: Padded) -> Memory:
        return self.memory
