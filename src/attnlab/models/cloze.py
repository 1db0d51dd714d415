"""Ranking by telling hidden items (BERT4Rec, Sun et al. 2019)."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attnlab.data.batch import Batch, Padded
from attnlab.data.vocabulary import UNKNOWN
from attnlab.models.builder import ModelBuilder
from attnlab.models.heads import Ranker
from attnlab.models.memory import Memory


class ClozeRanker(Ranker):
    """Tells items that are hidden in a history, and the one after the last.

    What is asked of it later is the one after the last alone. No query looks at what is hidden. Its
    reader's encoder is `OnePlaceMore`.
    """

    def forward(self, batch: Batch, hidden: Tensor | None = None) -> Tensor:
        """Scores of the items, batch x 1 x items; of those `hidden` (batch x length) and the one
        after the last where they stand, batch x length + 1 x items."""
        items, mask = batch.inputs[self.attended]
        if hidden is None:
            memory, query_seed = self.reader(batch)
            history = memory._replace(values=memory.values[:, :-1], mask=mask)
            return self.output(self.pooling(history, query_seed))
        shown = Padded(items.masked_fill(hidden, UNKNOWN), mask)
        memory = self.reader(replace(batch, inputs={self.attended: shown})).memory
        visible = memory._replace(mask=F.pad(mask & ~hidden, (0, 1)))
        return self.output(self.pooling.at_every_place(visible))


class OnePlaceMore(nn.Module):
    """An encoder that is shown a mark after the last item, and so has a state for what follows."""

    def __init__(self, builder: ModelBuilder, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.positions = encoder, builder.add_positions()
        self.mark = nn.Parameter(
            torch.randn(builder.embedding_width) * builder.embedding_width**-0.5
        )

    def forward(self, history: Memory) -> Memory:
        """A memory of batch x length states to one of batch x length + 1."""
        states, mask = history.values, history.mask
        last = mask.sum(1)[:, None, None].expand(-1, 1, states.shape[-1])  # batch x 1 x width
        longer = F.pad(states, (0, 0, 0, 1))
        empty = history._replace(
            values=torch.zeros_like(longer), mask=F.pad(mask, (1, 0), value=True)
        )
        mark = self.mark + self.positions(empty).values.gather(1, last)
        return self.encoder(empty._replace(values=longer.scatter(1, last, mark)))
