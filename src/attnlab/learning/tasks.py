"""What is asked: the loss of an answer, and how answers are judged."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from attnlab.data.batch import Batch
from attnlab.data.codec import Codec
from attnlab.metrics.pooled import PooledMetric
from attnlab.metrics.text import CharacterError, ExactMatch


class Task:
    """One form of answer. The loss is the same for units and labels: a choice at every place."""

    def __init__(
        self, codec: Codec, *, map: str, label_smoothing: float  # noqa: A002 - the config's word
    ) -> None:
        self.codec, self.map, self.label_smoothing = codec, map, label_smoothing

    def loss(self, scores: Tensor, batch: Batch) -> Tensor:
        """Mean cross-entropy of the real places; scores: batch x length x choices."""
        gold, mask = batch.answer
        return F.cross_entropy(
            scores.flatten(0, 1).float(),
            gold.masked_fill(~mask, -100).flatten(),
            label_smoothing=self.label_smoothing,
        )

    def texts(self, answers: Tensor) -> list[str]:
        """Answers as people read them; answers: batch x length."""
        return [self.codec.text(answer) for answer in answers.tolist()]

    def metrics(self) -> list[PooledMetric]:
        """Metrics of the answers as texts; the first figure of the first one is the headline."""
        raise NotImplementedError


class Generate(Task):
    """The answer is a sequence of units."""

    def __init__(
        self, codec: Codec, *, map: str, label_smoothing: float, max_length: int  # noqa: A002
    ) -> None:
        super().__init__(codec, map=map, label_smoothing=label_smoothing)
        self.max_length = max_length

    def metrics(self) -> list[PooledMetric]:
        return [ExactMatch(), CharacterError()]


class Classify(Task):
    """The answer is a label."""

    def metrics(self) -> list[PooledMetric]:
        return [ExactMatch()]
