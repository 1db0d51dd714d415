"""`ChoiceTask`: answers that are choices, at one position or at many."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Unpack

import torch
from torch import Tensor, nn

from attnlab.config.evaluation import Combine
from attnlab.data.batch import Batch
from attnlab.data.codec import Codec
from attnlab.models.ensemble import combined
from attnlab.models.units import Scores, limit_scores, whole
from attnlab.tasks.choice_loss import NOT_COUNTED, choice_loss
from attnlab.tasks.task import Prediction, Task, TaskSettings


class ChoiceSettings(TaskSettings):
    """The settings of every task whose answers are choices."""

    label_smoothing: float


class UnitSettings(ChoiceSettings):
    """The settings of every task whose choices are the units of a vocabulary."""

    scores_at_once: int | None


class ChoiceTask(Task):
    """The loss is the cross-entropy of the right choice; scores are batch x positions x choices."""

    def __init__(
        self, codec: Codec, *, label_smoothing: float, **shared: Unpack[TaskSettings]
    ) -> None:
        super().__init__(codec, **shared)
        self.label_smoothing = label_smoothing

    def losses(self, scores: Any, batch: Batch) -> tuple[Tensor, Tensor]:
        return self.cross_entropy(scores, self.gold(batch))

    def counts(self, batch: Batch) -> Tensor | None:
        return (self.gold(batch) != NOT_COUNTED).sum(1)

    def cross_entropy(self, scores: Scores, gold: Tensor) -> tuple[Tensor, Tensor]:
        """Sums and counts of each example, for the right choices: batch x positions."""
        choices = scores.flatten(0, 1)  # of batch x positions x choices
        losses = choice_loss(choices, gold.flatten(), self.label_smoothing)
        return losses.view(gold.shape).sum(1), (gold != NOT_COUNTED).sum(1)

    def gold(self, batch: Batch) -> Tensor:
        """The right choice at each position."""
        gold, mask = batch.answer
        return gold.masked_fill(~mask, NOT_COUNTED)

    def combine(self, outputs: Sequence[Any], how: Combine) -> Any:
        return combined(outputs, how)

    def outcomes(self, model: nn.Module, batch: Batch) -> Tensor:
        """Scores of all choices; -inf for what may not be chosen."""
        return whole(model(batch))

    def evidence(self, outcomes: Tensor, decisions: Tensor) -> Tensor:
        """Log odds, which do not saturate as a probability does."""
        chosen = decisions[..., None]
        others = outcomes.scatter(-1, chosen, -torch.inf).logsumexp(-1)
        return outcomes.gather(-1, chosen)[..., 0] - others

    def confidence(self, outcomes: Tensor, decisions: Tensor) -> Tensor:
        """The probability of each decision."""
        return outcomes.softmax(-1).gather(-1, decisions[..., None])[..., 0]

    def distance(self, one: Tensor, other: Tensor) -> Tensor:
        """Total variation of the distributions over choices."""
        return (one.softmax(-1) - other.softmax(-1)).abs().sum(-1) / 2

    def differs(self, one: Tensor, other: Tensor) -> Tensor:
        return one.argmax(-1) != other.argmax(-1)


class ManyChoices(ChoiceTask):
    """The choices are the units of a vocabulary, whose scores may be too many for memory."""

    def __init__(
        self, codec: Codec, *, scores_at_once: int | None, **shared: Unpack[ChoiceSettings]
    ) -> None:
        super().__init__(codec, **shared)
        self.scores_at_once = scores_at_once

    def limited(self, model: nn.Module) -> nn.Module:
        """The model, which holds no more scores than so many."""
        limit_scores(model, self.scores_at_once)
        return model


def best_choices(
    scores: Tensor, maps: Tensor, most: int, name: Callable[[int], str]
) -> list[list[Prediction]]:
    """The best choices of each row of scores (batch x choices) with their probabilities.

    Maps are batch x rows x keys. A choice with a score of -inf is never made.
    """
    probabilities = scores.float().softmax(-1)
    best, numbers = probabilities.topk(min(most, probabilities.shape[1]))
    allowed = scores.isfinite().sum(1).clamp_max(most).tolist()
    rows: Sequence[tuple[list[int], list[float], int, Tensor]] = list(
        zip(numbers.tolist(), best.tolist(), allowed, maps, strict=True)
    )
    return [
        [Prediction(name(i), p, map_) for i, p in zip(which[:n], chances[:n], strict=True)]
        for which, chances, n, map_ in rows
    ]
