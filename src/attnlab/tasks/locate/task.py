"""`Locate`: the answer is a set of boxes with their classes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import Metric

from attnlab.data.batch import Batch
from attnlab.data.codec import Codec
from attnlab.data.inputs import Picture
from attnlab.errors import UserError
from attnlab.metrics.regions import BoxIou, MeanAveragePrecision, box_iou
from attnlab.tasks.locate.answer import CONFIDENT, SHOWN, Boxes
from attnlab.tasks.locate.head import Locator, best_matching, generalised_iou
from attnlab.tasks.task import HeadContext, Task, TaskSettings, rows_of

SAME_BOX = 0.5  # IoU from which a box under another map is the same box


class Locate(Task):
    """Predictions have no order: each step matches them with gold anew."""

    def __init__(
        self,
        codec: Codec,
        *,
        label_smoothing: float,
        queries: int | Literal["cells"],
        rounds: int,
        box_weight: float,
        none_weight: float,
        **shared: Unpack[TaskSettings],
    ) -> None:
        super().__init__(codec, **shared)
        self.label_smoothing, self.rounds = label_smoothing, rounds
        self.queries: int | Literal["cells"] = queries
        self.box_weight, self.none_weight = box_weight, none_weight

    @property
    def boxes(self) -> Boxes:
        """The form of the answers."""
        assert isinstance(self.codec.answers, Boxes)
        return self.codec.answers

    def head(self, context: HeadContext) -> nn.Module:
        slots = self.boxes.slots
        if isinstance(self.queries, int) and self.queries < slots:
            raise UserError(
                f"task.queries: {self.queries} are fewer than the {slots} boxes that a picture of "
                f"dataset '{context.config.dataset.name}' has; try: task.queries={2 * slots}"
            )
        classes = self.boxes.classes
        return Locator(context, classes, queries=self.queries, rounds=self.rounds)

    def losses(self, scores: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Class of each query, and the distance of its box from the one it is matched with.

        Scores are batch x queries x (4 edges in shares of the picture + classes + none). The count
        is that of the boxes of gold, however many queries there are.
        """
        order = self.rows(scores, batch)
        edges, kinds = rows_of(scores.float(), order).tensor_split([4], -1)  # in the order of gold
        boxes, real = self._gold(batch, edges.shape[1])
        missing = edges.shape[1] - real.shape[1]
        boxes, real = F.pad(boxes, (0, 0, 0, missing)), F.pad(real, (0, missing))
        none = kinds.shape[-1] - 1
        gold = boxes[..., 4].long().masked_fill(~real, none)
        smooth = self.label_smoothing
        of_class = F.cross_entropy(
            kinds.transpose(1, 2), gold, reduction="none", label_smoothing=smooth
        )
        of_class = torch.where(real, of_class, self.none_weight * of_class)
        of_box = self.box_weight * self._distance(edges, boxes) * real
        return (of_class + of_box).sum(1), real.sum(1).clamp_min(1)

    @torch.no_grad()
    def rows(self, scores: Tensor, batch: Batch) -> Tensor:
        """The query of each gold box, so that all together fit best; then the other queries."""
        edges, kinds = scores.float().tensor_split([4], -1)
        boxes, real = self._gold(batch, edges.shape[1])
        of_class = boxes[..., 4].long()[:, None].expand(-1, edges.shape[1], -1)
        probability = kinds.softmax(-1).gather(-1, of_class)  # batch x queries x boxes
        distance = self._distance(edges[:, :, None], boxes[:, None])
        return best_matching(self.box_weight * distance - probability, real)

    def _distance(self, edges: Tensor, boxes: Tensor) -> Tensor:
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
        """The attended picture."""
        attended = self.codec.inputs[self.codec.attended]
        assert isinstance(attended, Picture)
        return attended

    def metrics(self) -> list[Metric]:
        return [MeanAveragePrecision(self.boxes.classes), BoxIou()]

    def update_metrics(
        self, metrics: Iterable[Any], batch: Batch, scores: Tensor, answers: Tensor
    ) -> None:
        """Precision at every confidence; IoU of the boxes that count as predicted."""
        gold = [boxes[mask] for boxes, mask in zip(*batch.answer, strict=True)]
        for metric in metrics:
            if isinstance(metric, MeanAveragePrecision):
                shown = [each[each[:, 5] >= SHOWN] for each in answers]
                metric.update([e[:, :5] for e in shown], [e[:, 5] for e in shown], gold)
            else:
                metric.update([each[each[:, 5] >= CONFIDENT, :5] for each in answers], gold)

    def changed(self, own: Tensor, other: Tensor, batch: Batch) -> Tensor:
        """The share of confident boxes, of both together, without a partner of their class."""
        return torch.tensor([_unmatched(*pair) for pair in zip(own, other, strict=True)])


def _unmatched(own: Tensor, other: Tensor) -> float:
    """Boxes x 6 of the same picture under two maps: from 0, all the same, to 1."""
    own, other = own[own[:, 5] >= CONFIDENT], other[other[:, 5] >= CONFIDENT]
    total = len(own) + len(other)
    if not len(own) or not len(other):
        return float(total > 0)
    same = (box_iou(own, other) >= SAME_BOX) & (own[:, None, 4] == other[None, :, 4])
    if len(own) > len(other):
        same = same.T
    order = best_matching(-same.T.double()[None], torch.ones(1, len(same), dtype=torch.bool))[0]
    matched = int(same[torch.arange(len(same)), order[: len(same)]].sum())
    return 1 - 2 * matched / total
