"""`Rank`: which of all items comes next."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, Unpack

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import Metric

from attnlab.data.batch import Batch
from attnlab.data.codec import Codec
from attnlab.data.example import Example
from attnlab.metrics.item_controls import ItemControl, Markov, Popularity
from attnlab.metrics.recommendation import Recommendation, SampledRecommendation
from attnlab.models.heads import candidates
from attnlab.training.choice_loss import NOT_COUNTED
from attnlab.training.tasks import Shared, Task

CUTOFFS = (10, 1)  # ranks at which a ranking is judged: items are many


class Cloze(NamedTuple):
    """What a model says of the items that were hidden from it."""

    scores: Tensor  # batch x length + 1 x items
    hidden: Tensor  # batch x length


class Rank(Task):
    """The answer is the one right item among all there are."""

    def __init__(
        self, codec: Codec, *, learn: str, hidden: float, repeats: bool, **shared: Unpack[Shared]
    ) -> None:
        super().__init__(codec, **shared)
        self.repeats = repeats
        self.hidden = hidden if learn == "hidden_places" else None
        self.known: dict[str, ItemControl] = {}

    def run(self, model: nn.Module, batch: Batch) -> Tensor | Cloze:
        if self.hidden is None or not model.training:
            return model(batch)
        items, mask = batch.inputs[self.codec.attended]
        hidden = mask & (torch.rand(items.shape, device=items.device) < self.hidden)
        return Cloze(model(batch, hidden), hidden)

    def losses(self, scores: Tensor | Cloze, batch: Batch) -> tuple[Tensor, Tensor]:
        """Scores are batch x 1 x items; of a model that learns from more places, of each."""
        seen = batch.inputs[self.codec.attended].values[:, None]  # batch x 1 x length
        if isinstance(scores, Cloze):
            gold, seen = self.filled_in(scores.hidden, batch), seen * ~scores.hidden[:, None]
            scores = scores.scores
        elif scores.shape[1] == 1:
            gold = self.gold(batch)
        else:
            gold, seen = self.following(batch), seen.expand(-1, seen.shape[-1], -1).tril()
        return self.wrong(scores if self.repeats else without(seen, scores, gold), gold)

    def following(self, batch: Batch) -> Tensor:
        """The item after each: the next of the history, at last the answer: batch x length."""
        items, mask = batch.inputs[self.codec.attended]
        last = mask.sum(1, keepdim=True) - 1  # batch x 1
        following = items.roll(-1, 1).scatter(1, last, batch.answer.values)
        return following.masked_fill(~mask, NOT_COUNTED)

    def filled_in(self, hidden: Tensor, batch: Batch) -> Tensor:
        """The items that are hidden, and the answer after the last: batch x length + 1."""
        items, mask = batch.inputs[self.codec.attended]
        found = F.pad(items.masked_fill(~hidden, NOT_COUNTED), (0, 1), value=NOT_COUNTED)
        return found.scatter(1, mask.sum(1, keepdim=True), batch.answer.values)

    def metrics(self) -> list[Metric]:
        return [Recommendation(CUTOFFS), SampledRecommendation(CUTOFFS[0])]

    def judge(self, metrics: Iterable[Any], batch: Batch, scores: Tensor, answers: Tensor) -> None:
        ranked = self.candidates(scores, batch)
        for metric in metrics:
            metric.update(ranked, batch.answer.values[:, 0])

    def candidates(self, scores: Tensor, batch: Batch) -> Tensor:
        """The scores of what may follow, batch x items."""
        return candidates(scores[:, -1], batch.inputs[self.codec.attended], self.repeats)

    def know(self, examples: Iterable[Example]) -> None:
        vocabulary = self.codec.answers.vocabulary  # type: ignore[union-attr]
        name = self.codec.attended
        whole = ([*e.inputs[name], str(e.answer)] for e in examples if name in e.inputs)  # type: ignore[misc]
        histories = [vocabulary.encode(each) for each in whole]
        size = len(vocabulary)
        self.known = {
            "popularity": Popularity(histories, size),
            "markov": Markov(histories, size),
        }

    def controls(self, batch: Batch, scores: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """What most people chose, and what most chose right after the last item."""
        items, mask = batch.inputs[self.codec.attended]
        histories = [row[real].tolist() for row, real in zip(items, mask, strict=True)]
        found = {}
        for name, control in self.known.items():
            given = torch.from_numpy(np.stack([control.scores(each) for each in histories]))
            given = given.to(scores)[:, None]  # batch x 1 x items
            found[name] = given, self.candidates(given, batch).argmax(-1, keepdim=True)
        return found


def without(seen: Tensor, scores: Tensor, gold: Tensor) -> Tensor:
    """Scores (batch x places x items) in which only gold may be an item that was seen.

    seen: batch x places x length, or one row for all places; 0 is no item.
    """
    known = torch.zeros_like(scores, dtype=torch.bool)
    known = known.scatter(-1, seen.expand(-1, scores.shape[1], -1), True)
    known = known.scatter(-1, gold.clamp_min(0)[..., None], False)
    return scores.masked_fill(known, -torch.inf)
