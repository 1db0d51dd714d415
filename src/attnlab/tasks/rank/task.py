"""`Rank`: which of all items comes next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Unpack

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import Metric

from attnlab.config.attention import AttentionConfig
from attnlab.data.batch import Batch
from attnlab.data.codec import Codec
from attnlab.data.example import Example
from attnlab.data.vocabulary import Vocabulary
from attnlab.errors import UserError
from attnlab.metrics.recommendation import (
    ItemControl,
    Markov,
    Popularity,
    Recommendation,
    SampledRecommendation,
)
from attnlab.models.builder import ModelBuilder
from attnlab.tasks.choice_loss import NOT_COUNTED
from attnlab.tasks.choices import ChoiceSettings
from attnlab.tasks.classify.task import OneChoice
from attnlab.tasks.rank.answer import Item
from attnlab.tasks.rank.head import ClozeRanker, Ranker, WithMaskAtEnd, candidates
from attnlab.tasks.task import HeadContext

CUTOFFS = (10, 1)  # ranks at which a ranking is evaluated: items are many


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
        hidden: float,
        repeats: bool,
        **shared: Unpack[ChoiceSettings],
    ) -> None:
        super().__init__(codec, **shared)
        self.repeats, self.every_position = repeats, learn == "every_position"
        self.masked = hidden if learn == "hidden_positions" else None  # share of the items
        self.item_controls: dict[str, ItemControl] = {}

    @property
    def items(self) -> Vocabulary:
        """All items, as answers."""
        assert isinstance(self.codec.answers, Item)
        return self.codec.answers.vocabulary

    def encoder(self, builder: ModelBuilder, attention: AttentionConfig) -> nn.Module:
        encoder = super().encoder(builder, attention)
        return encoder if self.masked is None else WithMaskAtEnd(builder, encoder)

    def check_inputs(self, names: Sequence[str]) -> None:
        if self.masked is not None:
            raise UserError(
                "task.learn: 'hidden_positions' reads items alone, and the data hold "
                f"{', '.join(names)}; try: task.learn=answer"
            )

    def head(self, context: HeadContext) -> nn.Module:
        kind = Ranker if self.masked is None else ClozeRanker
        output = _item_scores(context.builder, len(self.items))
        parts = context.reader, context.prediction(1), context.builder, context.attention, output
        return kind(
            *parts,
            attended=self.codec.attended,
            every_position=self.every_position,
            repeats=self.repeats,
        )

    def run(self, model: nn.Module, batch: Batch) -> Tensor | ClozeScores:
        if self.masked is None or not model.training:
            return model(batch)
        items, mask = batch.inputs[self.codec.attended]
        masked = mask & (torch.rand(items.shape, device=items.device) < self.masked)
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

    def fit(self, examples: Iterable[Example]) -> None:
        name = self.codec.attended
        whole = ([*e.inputs[name], str(e.answer)] for e in examples if name in e.inputs)  # type: ignore[misc]
        histories = [self.items.encode(each) for each in whole]
        size = len(self.items)
        self.item_controls = {
            "popularity": Popularity(histories, size),
            "markov": Markov(histories, size),
        }

    def controls(self, batch: Batch, scores: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """What most people chose, and what most chose right after the last item."""
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
