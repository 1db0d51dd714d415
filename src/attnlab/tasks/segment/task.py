"""`Segment`: the answer is a class for each pixel."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import Metric

from attnlab.data.batch import Batch
from attnlab.data.codec import Codec
from attnlab.metrics.regions import Segmentation
from attnlab.tasks.segment.answer import Pixels
from attnlab.tasks.segment.head import Segmenter
from attnlab.tasks.task import HeadContext, Task


class Segment(Task):
    """The loss is the cross-entropy of each pixel's class."""

    def __init__(
        self,
        codec: Codec,
        *,
        map: str,  # noqa: A002 - the key in YAML
        label_smoothing: float,
        gated: bool,
    ) -> None:
        super().__init__(codec, map=map)
        self.label_smoothing, self.gated = label_smoothing, gated

    @property
    def pixels(self) -> Pixels:
        """The form of the answers."""
        assert isinstance(self.codec.answers, Pixels)
        return self.codec.answers

    def head(self, context: HeadContext) -> nn.Module:
        sizes = context.picture(), self.pixels.classes, self.gated
        return Segmenter(context.reader, context.builder, context.attention, *sizes)

    def losses(self, scores: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Scores are batch x classes x height x width."""
        gold = batch.answer.values
        smooth = self.label_smoothing
        losses = F.cross_entropy(scores.float(), gold, reduction="none", label_smoothing=smooth)
        return losses.flatten(1).sum(1), torch.full_like(losses[:, 0, 0], gold[0].numel())

    def metrics(self) -> list[Metric]:
        return [Segmentation(self.pixels.classes)]

    def update_metrics(
        self, metrics: Iterable[Any], batch: Batch, scores: Tensor, answers: Tensor
    ) -> None:
        for metric in metrics:
            metric.update(answers, batch.answer.values)

    def changed(self, own: Tensor, other: Tensor, batch: Batch) -> Tensor:
        """The share of pixels of another class."""
        return (own != other).flatten(1).double().mean(1).cpu()
