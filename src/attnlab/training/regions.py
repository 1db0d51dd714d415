"""Answers that are places in a picture: their losses, and how they are judged."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric

from attnlab.data.answers import SURE, WORTH_A_WORD, Boxes, Pixels
from attnlab.data.batch import Batch
from attnlab.data.codec import Codec
from attnlab.data.inputs import Picture
from attnlab.metrics.regions import BoxIou, MeanAveragePrecision, Segmentation
from attnlab.objectives.matching import partners
from attnlab.objectives.regions import generalised_iou
from attnlab.training.tasks import Shared, Task, rows_of


class Locate(Task):
    """The answer is a set of boxes with their classes: which answers which is matched anew."""

    def __init__(
        self,
        codec: Codec,
        *,
        queries: int | Literal["cells"],
        rounds: int,
        box_weight: float,
        none_weight: float,
        **shared: Unpack[Shared],
    ) -> None:
        super().__init__(codec, **shared)  # who asks, and how often, is the model's business
        self.box_weight, self.none_weight = box_weight, none_weight

    def losses(self, scores: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Class of each query, and how far off its box is where it has one to find.

        Scores are batch x queries x (4 edges in parts of the picture + classes + none). Counted
        are the boxes of gold, however many queries there are.
        """
        order = self.rows(scores, batch)
        edges, kinds = rows_of(scores.float(), order).tensor_split([4], -1)  # in the order of gold
        boxes, there = self._gold(batch, edges.shape[1])
        missing = edges.shape[1] - there.shape[1]
        boxes, there = F.pad(boxes, (0, 0, 0, missing)), F.pad(there, (0, missing))
        none = kinds.shape[-1] - 1
        gold = boxes[..., 4].long().masked_fill(~there, none)
        smooth = self.label_smoothing
        wrong = F.cross_entropy(
            kinds.transpose(1, 2), gold, reduction="none", label_smoothing=smooth
        )
        wrong = torch.where(there, wrong, self.none_weight * wrong)
        off = self.box_weight * self._apart(edges, boxes) * there
        return (wrong + off).sum(1), there.sum(1).clamp_min(1)

    @torch.no_grad()
    def rows(self, scores: Tensor, batch: Batch) -> Tensor:
        """The query of each gold box, so that all together fit best; then the other queries."""
        edges, kinds = scores.float().tensor_split([4], -1)
        boxes, there = self._gold(batch, edges.shape[1])
        of_class = boxes[..., 4].long()[:, None].expand(-1, edges.shape[1], -1)
        likely = kinds.softmax(-1).gather(-1, of_class)  # batch x queries x boxes
        apart = self._apart(edges[:, :, None], boxes[:, None])
        return partners(self.box_weight * apart - likely, there)

    def _apart(self, edges: Tensor, boxes: Tensor) -> Tensor:
        """1 - generalised IoU and the mean distance of edges: ... x 4 beside ... x 5 in pixels."""
        size = edges.new_tensor([self.picture.width, self.picture.height]).repeat(2)
        right = boxes[..., :4] / size
        return 1 - generalised_iou(edges, right) + 5 * (edges - right).abs().mean(-1)

    def _gold(self, batch: Batch, most: int) -> tuple[Tensor, Tensor]:
        """The first boxes of each example, batch x boxes x 5, and which of them exist."""
        boxes, mask = batch.answer
        return boxes[:, :most], mask[:, :most]

    @property
    def picture(self) -> Picture:
        found = self.codec.inputs[self.codec.attended]
        assert isinstance(found, Picture)
        return found

    def metrics(self) -> list[Metric]:
        assert isinstance(self.codec.answers, Boxes)
        return [MeanAveragePrecision(self.codec.answers.classes), BoxIou()]

    def judge(self, metrics: Iterable[Any], batch: Batch, scores: Tensor, answers: Tensor) -> None:
        """Precision at every degree of sureness; IoU of the boxes that count as said."""
        gold = [boxes[mask] for boxes, mask in zip(*batch.answer, strict=True)]
        for metric in metrics:
            if isinstance(metric, MeanAveragePrecision):
                said = [each[each[:, 5] >= WORTH_A_WORD] for each in answers]
                metric.update([each[:, :5] for each in said], [each[:, 5] for each in said], gold)
            else:
                metric.update([each[each[:, 5] >= SURE, :5] for each in answers], gold)


class Segment(Task):
    """The answer is a class for each pixel."""

    def __init__(self, codec: Codec, *, gated: bool, **shared: Unpack[Shared]) -> None:
        super().__init__(codec, **shared)  # how it comes back to pixels is the model's business

    def losses(self, scores: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Scores are batch x classes x height x width."""
        gold = batch.answer.values
        smooth = self.label_smoothing
        losses = F.cross_entropy(scores.float(), gold, reduction="none", label_smoothing=smooth)
        return losses.flatten(1).sum(1), torch.full_like(losses[:, 0, 0], gold[0].numel())

    def metrics(self) -> list[Metric]:
        assert isinstance(self.codec.answers, Pixels)
        return [Segmentation(self.codec.answers.classes)]

    def judge(self, metrics: Iterable[Any], batch: Batch, scores: Tensor, answers: Tensor) -> None:
        for metric in metrics:
            metric.update(answers, batch.answer.values)
