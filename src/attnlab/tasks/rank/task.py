"""`Rank`: which of all items comes next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Unpack

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import Metric

from attnlab.config.attention import AttentionConfig
from attnlab.data.batch import Batch, Padded
from attnlab.data.codec import Codec
from attnlab.data.example import Example
from attnlab.data.vocabulary import SPECIAL, UNKNOWN, Vocabulary
from attnlab.errors import UserError
from attnlab.metrics.recommendation import (
    ItemControl,
    ItemNeighbours,
    Markov,
    Popularity,
    Recommendation,
    SampledRecommendation,
)
from attnlab.models.builder import ModelBuilder
from attnlab.models.memory import Memory, Reading
from attnlab.tasks.choice_loss import NOT_COUNTED
from attnlab.tasks.choices import ChoiceSettings
from attnlab.tasks.classify.task import Classifier, OneChoice
from attnlab.tasks.rank.answer import Item
from attnlab.tasks.task import HeadContext

MOST_ITEMS, LATEST = 5_000, 10  # that have neighbours; of a history, whose neighbours count
CUTOFFS = (10, 1)  # ranks at which a ranking is evaluated: items are many


class Ranker(Classifier):
    """Answers with an item; its scores rank them all.

    Where it learns from every position of a history, each position predicts the item after it from
    those before (SASRec, Kang & McAuley 2018); later only the last position answers.
    """

    def __init__(
        self, context: HeadContext, output: nn.Module, *, every_position: bool, repeats: bool
    ) -> None:
        super().__init__(context, output)
        attended = context.codec.attended
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


class ClozeScores(NamedTuple):
    """Scores of a history of which some items were masked."""

    scores: Tensor  # batch x length + 1 x items
    masked: Tensor  # batch x length


class Rank(OneChoice):
    """The answer is the one right item among all there are."""

    def __init__(
        self,
        codec: Codec,
        *,
        learn: str,
        mask_share: float,
        repeats: bool,
        **shared: Unpack[ChoiceSettings],
    ) -> None:
        super().__init__(codec, **shared)
        self.repeats, self.every_position = repeats, learn == "every_position"
        self.mask_share = mask_share if learn == "masked_positions" else None
        self.item_controls: dict[str, ItemControl] = {}

    @property
    def items(self) -> Vocabulary:
        """All items, as answers."""
        assert isinstance(self.codec.answers, Item)
        return self.codec.answers.vocabulary

    def encoder(self, builder: ModelBuilder, attention: AttentionConfig) -> nn.Module:
        encoder = super().encoder(builder, attention)
        return encoder if self.mask_share is None else WithMaskAtEnd(builder, encoder)

    def check_inputs(self, names: Sequence[str]) -> None:
        if self.mask_share is not None:
            raise UserError(
                "task.learn: 'masked_positions' reads items alone, and the data hold "
                f"{', '.join(names)}; try: task.learn=answer"
            )

    def head(self, context: HeadContext) -> nn.Module:
        kind = Ranker if self.mask_share is None else ClozeRanker
        output = _item_scores(context.builder, len(self.items))
        return kind(context, output, every_position=self.every_position, repeats=self.repeats)

    def run(self, model: nn.Module, batch: Batch) -> Tensor | ClozeScores:
        if self.mask_share is None or not model.training:
            return model(batch)
        items, mask = batch.inputs[self.codec.attended]
        masked = mask & (torch.rand(items.shape, device=items.device) < self.mask_share)
        return ClozeScores(model(batch, masked), masked)

    def losses(self, scores: Tensor | ClozeScores, batch: Batch) -> tuple[Tensor, Tensor]:
        """Scores are batch x 1 x items; of a model that learns from more positions, of each."""
        history = batch.inputs[self.codec.attended].values[:, None]  # batch x 1 x length
        if isinstance(scores, ClozeScores):
            gold = self.masked_items(scores.masked, batch)
            history = history * ~scores.masked[:, None]
            scores = scores.scores
        elif scores.shape[1] == 1:
            gold = self.gold(batch)
        else:
            gold = self.following(batch)
            history = history.expand(-1, history.shape[-1], -1).tril()
        if not self.repeats:
            scores = without(history, scores, gold)
        return self.cross_entropy(scores, gold)

    def counts(self, batch: Batch) -> Tensor | None:
        if self.mask_share is not None:  # masks are drawn in the forward pass
            return None
        if not self.every_position:
            return super().counts(batch)
        return (self.following(batch) != NOT_COUNTED).sum(1)

    def following(self, batch: Batch) -> Tensor:
        """The item after each: the next of the history, at last the answer: batch x length."""
        items, mask = batch.inputs[self.codec.attended]
        last = mask.sum(1, keepdim=True) - 1  # batch x 1
        following = items.roll(-1, 1).scatter(1, last, batch.answer.values)
        return following.masked_fill(~mask, NOT_COUNTED)

    def masked_items(self, masked: Tensor, batch: Batch) -> Tensor:
        """The items that are masked, and the answer after the last: batch x length + 1."""
        items, mask = batch.inputs[self.codec.attended]
        gold = F.pad(items.masked_fill(~masked, NOT_COUNTED), (0, 1), value=NOT_COUNTED)
        return gold.scatter(1, mask.sum(1, keepdim=True), batch.answer.values)

    def metrics(self) -> list[Metric]:
        return [Recommendation(CUTOFFS), SampledRecommendation(CUTOFFS[0])]

    def update_metrics(
        self, metrics: Iterable[Any], batch: Batch, scores: Tensor, answers: Tensor
    ) -> None:
        ranked = self.candidates(scores, batch)
        for metric in metrics:
            metric.update(ranked, batch.answer.values[:, 0])

    def candidates(self, scores: Tensor, batch: Batch) -> Tensor:
        """The scores of what may follow, batch x items."""
        return candidates(scores[:, -1], batch.inputs[self.codec.attended], self.repeats)

    def fit(self, examples: Sequence[Example]) -> None:
        name = self.codec.attended
        whole = ([*e.inputs[name], str(e.answer)] for e in examples if name in e.inputs)  # type: ignore[misc]
        histories = [self.items.encode(each) for each in whole]
        size = len(self.items)
        self.item_controls = {
            "popularity": Popularity(histories, size),
            "markov": Markov(histories, size),
        }
        if size <= MOST_ITEMS:
            neighbours = ItemNeighbours(histories, size, size, LATEST)
            self.item_controls["item_neighbours"] = neighbours

    def controls(
        self, batch: Batch, scores: Tensor, examples: Sequence[Example]
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """What most people chose, what most chose right after the last item, and what was chosen
        by the same people as the latest items."""
        items, mask = batch.inputs[self.codec.attended]
        histories = [row[real].tolist() for row, real in zip(items, mask, strict=True)]
        answers = {}
        for name, control in self.item_controls.items():
            ranked = torch.from_numpy(np.stack([control.scores(each) for each in histories]))
            ranked = ranked.to(scores)[:, None]  # batch x 1 x items
            answers[name] = ranked, self.candidates(ranked, batch).argmax(-1, keepdim=True)
        return answers


def without(history: Tensor, scores: Tensor, gold: Tensor) -> Tensor:
    """Scores (batch x positions x items) in which no item of the history but gold can win.

    history: batch x positions x length, or one row for all positions; 0 is no item.
    """
    excluded = torch.zeros_like(scores, dtype=torch.bool)
    excluded = excluded.scatter(-1, history.expand(-1, scores.shape[1], -1), True)
    excluded = excluded.scatter(-1, gold.clamp_min(0)[..., None], False)
    return scores.masked_fill(excluded, -torch.inf)


def _item_scores(builder: ModelBuilder, items: int) -> nn.Sequential:
    """Two layers: several items together may lead to the next, not each by itself."""
    hidden = nn.Linear(builder.dim, 2 * builder.dim), nn.GELU()
    if builder.tie != "all":
        return nn.Sequential(*hidden, nn.Linear(2 * builder.dim, items))
    width = builder.embedding_width
    output = builder.units.output(builder.units.embedding(items, width), width)
    return nn.Sequential(*hidden, nn.Linear(2 * builder.dim, width), output)
