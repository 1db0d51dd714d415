"""Boxes and masks: mean IoU, and COCO's mean average precision."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from attnlab.metrics.figures import Figure, Interval, Values, interval
from attnlab.metrics.pooled import DescribedMetric, PooledMetric, ratio

THRESHOLDS = np.arange(0.5, 1.0, 0.05)  # of IoU, as COCO has them
RECALLS = np.linspace(0, 1, 101)  # at which COCO reads precision
MOST = 100  # detections of an image that count


class BoxIou(PooledMetric):
    """The mean over gold boxes of the IoU with the predicted box of its class given to it.

    Boxes are paired one to one, greatest IoU first; a gold box without a partner counts 0.
    Superfluous predictions cost nothing here: `MeanAveragePrecision` makes them pay.
    """

    about = (Figure("box_iou", "Mean IoU of gold boxes with the predicted box paired to each"),)

    def update(self, predictions: Sequence[Tensor], answers: Sequence[Tensor]) -> None:
        """One tensor of n x 5 (left, top, right, bottom, class) for each example on each side."""
        rows = [
            (_paired_iou(predicted, gold), len(gold))
            for predicted, gold in zip(predictions, answers, strict=True)
        ]
        self.keep(torch.tensor(rows, device=self.device).view(-1, 2))

    def score(self, sums: Values) -> Values:
        return ratio(sums[..., 0], sums[..., 1])[..., None]


class Segmentation(PooledMetric):
    """The mean over classes of pooled IoU (mIoU) and of pooled Dice, and pixel accuracy.

    Dice is twice the intersection over the sum of both sides. Classes that appear on neither side
    are left out of the means; the background is a class.
    """

    about = (
        Figure("mean_iou", "Mean over classes of pooled intersection over union"),
        Figure("mean_dice", "Mean over classes of pooled Dice"),
        Figure("pixel_accuracy", "Share of the pixels whose class is right"),
    )

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes

    def update(self, predictions: Tensor, answers: Tensor) -> None:
        """Class of each pixel: batch x height x width."""
        classes = torch.arange(self.classes, device=answers.device)
        predicted, gold = (side.flatten(1)[..., None] == classes for side in (predictions, answers))
        counts = ((predicted & gold).sum(1), predicted.sum(1), gold.sum(1))  # each batch x classes
        self.keep(torch.cat(counts, dim=-1))

    def score(self, sums: Values) -> Values:
        both, predicted, gold = np.split(sums, 3, axis=-1)  # each ... x classes
        iou, dice = ratio(both, predicted + gold - both), ratio(2 * both, predicted + gold)
        accuracy = ratio(both.sum(-1), gold.sum(-1))
        return np.stack([_mean_of_defined(iou), _mean_of_defined(dice), accuracy], axis=-1)


def _mean_of_defined(figures: Values) -> Values:
    """The mean over classes, without those that are seen nowhere."""
    defined = ~np.isnan(figures)
    return ratio(np.where(defined, figures, 0.0).sum(-1), defined.sum(-1))


class MeanAveragePrecision(DescribedMetric):
    """COCO's AP: the mean over classes and IoU thresholds 0.50-0.95 of 101-point precision.

    (Lin et al. 2014.) All areas, at most 100 detections of an image, no crowd regions. `map50` and
    `map75` are at those thresholds alone. Detections are not sums: each is kept, with the example
    it came from, so that intervals resample examples.
    """

    about = (
        Figure("map", "COCO's average precision, mean over classes and IoU 0.50 to 0.95"),
        Figure("map50", "Average precision at IoU 0.50"),
        Figure("map75", "Average precision at IoU 0.75"),
    )
    detections: list[Tensor]
    gold: list[Tensor]

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes
        # One row each: a detection as example mark, class, score, found at each threshold ...
        self.add_state("detections", default=[], dist_reduce_fx="cat")
        # ... and an example as its mark, then its number of gold boxes of each class.
        self.add_state("gold", default=[], dist_reduce_fx="cat")

    def update(
        self, predictions: Sequence[Tensor], scores: Sequence[Tensor], answers: Sequence[Tensor]
    ) -> None:
        """Boxes as n x 5 (left, top, right, bottom, class), scores as n, for each example."""
        for predicted, confidence, boxes in zip(predictions, scores, answers, strict=True):
            mark = torch.tensor([self._mark()], dtype=torch.double)
            best = confidence.argsort(descending=True, stable=True)[:MOST]
            matched = _matched(predicted[best], boxes)  # detections x thresholds
            image, kinds = mark.expand(len(best), 1), predicted[best, 4:5]
            rows = [image, kinds, confidence[best, None], matched]
            self.detections.append(torch.cat([r.double().to(self.device) for r in rows], dim=-1))
            counts = torch.bincount(boxes[:, 4].long(), minlength=self.classes)
            self.gold.append(torch.cat([mark, counts.cpu()])[None].double().to(self.device))

    def _mark(self) -> int:
        """A number that no other example has, in this process or another."""
        together = torch.distributed.is_available() and torch.distributed.is_initialized()
        processes, rank = (
            (torch.distributed.get_world_size(), torch.distributed.get_rank())
            if together
            else (1, 0)
        )
        return len(self.gold) * processes + rank

    def compute(self) -> dict[str, float]:
        detections, gold = self._tables()
        figures = self._score(detections, gold[:, 1:], np.ones(len(gold)))
        return dict(zip(self.figures, figures.tolist(), strict=True))

    def intervals(
        self, confidence: float = 0.95, resamples: int = 200, seed: int = 0
    ) -> dict[str, Interval]:
        """Every figure with its bootstrap interval over the examples of all processes."""
        with self.sync_context():
            detections, gold = self._tables()
        random = np.random.default_rng(seed)
        examples = len(gold)
        drawn = random.multinomial(examples, np.full(examples, 1 / examples), size=resamples)
        resampled = np.stack([self._score(detections, gold[:, 1:], t.astype(float)) for t in drawn])
        now = self._score(detections, gold[:, 1:], np.ones(examples))
        return {
            name: interval(float(now[i]), resampled[:, i], confidence)
            for i, name in enumerate(self.figures)
        }

    def _tables(self) -> tuple[Values, Values]:
        """Detections, best first, with the place of their example instead of its mark; gold."""
        kept = [
            state if isinstance(state, Tensor) else torch.cat(state)
            for state in (self.detections, self.gold)
        ]
        detections, gold = (table.cpu().numpy() for table in kept)
        gold = gold[gold[:, 0].argsort()]
        detections[:, 0] = np.searchsorted(gold[:, 0], detections[:, 0])
        return detections[np.argsort(-detections[:, 2], kind="stable")], gold

    def _score(self, detections: Values, gold: Values, times: Values) -> Values:
        """Figures when each example counts so many times."""
        there = times @ gold  # classes
        weight = times[detections[:, 0].astype(int)]
        precisions = []
        for kind in np.flatnonzero(there):
            rows = detections[:, 1] == kind
            matched = detections[rows, 3:]  # detections x thresholds
            precisions.append(_precision(matched, weight[rows], there[kind]))
        if not precisions:
            return np.full(3, np.nan)
        mean = np.mean(precisions, axis=0)  # thresholds
        return np.array([mean.mean(), mean[0], mean[5]])


def box_iou(one: Tensor, other: Tensor) -> Tensor:
    """IoU of every pair of boxes n x 4 and m x 4 (left, top, right, bottom): n x m."""
    low = torch.maximum(one[:, None, :2], other[None, :, :2])
    high = torch.minimum(one[:, None, 2:4], other[None, :, 2:4])
    shared = (high - low).clamp_min(0).prod(-1)
    areas = [(boxes[:, 2:4] - boxes[:, :2]).clamp_min(0).prod(-1) for boxes in (one, other)]
    return shared / (areas[0][:, None] + areas[1][None] - shared).clamp_min(1e-9)


def _same_class_iou(predicted: Tensor, gold: Tensor) -> Values:
    same = predicted[:, None, 4] == gold[None, :, 4]
    return (box_iou(predicted, gold) * same).double().cpu().numpy()


def _paired_iou(predicted: Tensor, gold: Tensor) -> float:
    """The sum of IoUs when boxes of a class are paired, greatest IoU first."""
    iou, total = _same_class_iou(predicted, gold), 0.0
    while iou.size and iou.max() > 0:
        i, j = np.unravel_index(iou.argmax(), iou.shape)
        total += float(iou[i, j])
        iou = np.delete(np.delete(iou, i, axis=0), j, axis=1)
    return total


def _matched(predicted: Tensor, gold: Tensor) -> Tensor:
    """Whether each detection, best first, finds a gold box not yet found: n x thresholds."""
    iou = _same_class_iou(predicted, gold)
    matched = np.zeros((len(predicted), len(THRESHOLDS)), bool)
    for t, threshold in enumerate(THRESHOLDS):
        free = np.ones(len(gold), bool)
        for i, row in enumerate(iou):
            open_to = np.where(free, row, 0.0)
            if open_to.size and open_to.max() >= threshold - 1e-9:
                matched[i, t], free[open_to.argmax()] = True, False
    return torch.from_numpy(matched)


def _precision(matched: Values, weight: Values, there: float) -> npt.NDArray[np.float64]:
    """Mean precision over 101 recalls, for each threshold; detections best first."""
    hits = np.cumsum(matched * weight[:, None], axis=0)  # detections x thresholds
    recall = hits / there
    precision = ratio(hits, np.cumsum(weight)[:, None], empty=0.0)
    highest = np.maximum.accumulate(precision[::-1], axis=0)[::-1]  # at this recall or beyond
    means = np.zeros(matched.shape[1])
    for t in range(matched.shape[1]):
        index = np.searchsorted(recall[:, t], RECALLS, side="left")
        reached = index < len(recall)
        means[t] = highest[index[reached], t].sum() / len(RECALLS)
    return means
