"""`Ranker`: scores all items; `ClozeRanker` learns from masked items (BERT4Rec)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attnlab.data.batch import Batch, Padded
from attnlab.data.vocabulary import SPECIAL, UNKNOWN
from attnlab.models.builder import ModelBuilder
from attnlab.models.memory import Memory, Reading
from attnlab.tasks.classify.head import Classifier


class Ranker(Classifier):
    """Answers with an item; its scores rank them all.

    Where it learns from every position of a history, each position predicts the item after it from
    those before (SASRec, Kang & McAuley 2018); later only the last position answers.
    """

    def __init__(self, *parts: Any, attended: str, every_position: bool, repeats: bool) -> None:
        super().__init__(*parts)
        self.attended, self.every_position, self.repeats = attended, every_position, repeats

    def pooled(self, reading: Reading) -> Tensor:
        """batch x 1 x dim; while it learns from every position, batch x length x dim."""
        if self.every_position and self.training:
            return self.pooling.at_every_position(reading.memory)
        memory = reading.memory._replace(causal=False)  # all of it stands before the answer
        # A model that learns at every position queries with its state, here with the last one.
        seed = memory.last() if self.every_position else reading.query_seed
        return super().pooled(Reading(memory, seed))

    def choices(self, batch: Batch) -> Tensor:
        return candidates(super().choices(batch), batch.inputs[self.attended], self.repeats)


def candidates(scores: Tensor, history: Padded, repeats: bool) -> Tensor:
    """Scores (batch x all items) in which no special unit can win, nor, without repeats, history.

    Both are set to -inf.
    """
    is_special = torch.arange(scores.shape[-1], device=scores.device) < len(SPECIAL)
    scores = scores.masked_fill(is_special, -torch.inf)
    return scores if repeats else scores.scatter(-1, history.values, -torch.inf)


class ClozeRanker(Ranker):
    """Predicts masked items of a history, and the one after the last (Sun et al. 2019).

    Later it predicts the one after the last alone. No query attends to a masked item. Its reader's
    encoder is `WithMaskAtEnd`.
    """

    def forward(self, batch: Batch, masked: Tensor | None = None) -> Tensor:
        """Scores of the items, batch x 1 x items; with `masked` (batch x length) those of each
        position and of the one after the last, batch x length + 1 x items."""
        items, mask = batch.inputs[self.attended]
        if masked is None:
            memory, query_seed = self.reader(batch)
            history = memory._replace(values=memory.values[:, :-1], mask=mask)
            return self.output(self.pooling(history, query_seed))
        shown = Padded(items.masked_fill(masked, UNKNOWN), mask)
        memory = self.reader(replace(batch, inputs={self.attended: shown})).memory
        visible = memory._replace(mask=F.pad(mask & ~masked, (0, 1)))
        return self.output(self.pooling.at_every_position(visible))


class WithMaskAtEnd(nn.Module):
    """An encoder that reads a mask symbol after the last item; its state predicts what follows."""

    def __init__(self, builder: ModelBuilder, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.positions = encoder, builder.add_positions()
        width = builder.embedding_width
        self.mask_vector = nn.Parameter(torch.randn(width) * width**-0.5)

    def forward(self, history: Memory) -> Memory:
        """A memory of batch x length states to one of batch x length + 1."""
        states, mask = history.values, history.mask
        last = mask.sum(1)[:, None, None].expand(-1, 1, states.shape[-1])  # batch x 1 x width
        longer = F.pad(states, (0, 0, 0, 1))
        empty = history._replace(
            values=torch.zeros_like(longer), mask=F.pad(mask, (1, 0), value=True)
        )
        vector = self.mask_vector + self.positions(empty).values.gather(1, last)
        return self.encoder(empty._replace(values=longer.scatter(1, last, vector)))
