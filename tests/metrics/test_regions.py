"""Boxes and masks against plain loops and worked examples."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, jaccard_score

from attnlab.metrics.regions import BoxIou, MeanAveragePrecision, Segmentation, box_iou


def boxes(*rows):
    return torch.tensor(rows, dtype=torch.float).view(-1, 5)


def test_iou_of_boxes_is_that_of_their_pixels():
    random = np.random.default_rng(0)
    corners = random.integers(0, 8, (12, 2, 2))
    rows = torch.tensor(np.concatenate([corners.min(1), corners.max(1) + 1], axis=1)).float()
    pixels = np.zeros((12, 9, 9), bool)
    for grid, (left, top, right, bottom) in zip(pixels, rows.int().tolist(), strict=True):
        grid[top:bottom, left:right] = True
    made = box_iou(rows, rows)
    for i in range(12):
        for j in range(12):
            expected = (pixels[i] & pixels[j]).sum() / (pixels[i] | pixels[j]).sum()
            assert made[i, j].item() == pytest.approx(expected)


def test_box_iou_pairs_boxes_of_a_class_one_to_one():
    gold = boxes([0, 0, 2, 2, 1], [4, 4, 6, 6, 1], [8, 8, 9, 9, 0])
    said = boxes([0, 0, 2, 2, 1], [0, 0, 2, 1, 1], [8, 8, 9, 9, 2])
    metric = BoxIou()
    metric.update([said, boxes()], [gold, boxes([0, 0, 1, 1, 0])])
    assert metric.compute()["box_iou"] == pytest.approx(1 / 4)  # one right of four gold boxes


@pytest.mark.parametrize("seed", range(3))
def test_segmentation_is_the_mean_jaccard_and_dice_of_pooled_pixels(seed):
    random = np.random.default_rng(seed)
    said, gold = random.integers(0, 3, (2, 5, 6, 7))
    metric = Segmentation(classes=5)  # two of which never appear
    metric.update(torch.tensor(said[:2]), torch.tensor(gold[:2]))
    metric.update(torch.tensor(said[2:]), torch.tensor(gold[2:]))
    iou = jaccard_score(gold.ravel(), said.ravel(), average="macro")
    dice = f1_score(gold.ravel(), said.ravel(), average="macro")
    assert metric.compute() == pytest.approx(
        {"mean_iou": iou, "mean_dice": dice, "pixel_accuracy": (said == gold).mean()}
    )


def plain_average_precision(images, kind, threshold):
    """COCO's procedure for one class, image by image and detection by detection."""
    flat, there = [], 0
    for said, confidence, gold in images:
        free = [i for i in range(len(gold)) if gold[i, 4] == kind]
        there += len(free)
        for d in sorted(range(len(said)), key=lambda d: -confidence[d].item()):
            if said[d, 4] != kind:
                continue
            overlaps = [(box_iou(said[d : d + 1], gold[g : g + 1]).item(), g) for g in free]
            best = max(overlaps, default=(0.0, -1))
            hit = best[0] >= threshold
            if hit:
                free.remove(best[1])
            flat.append((confidence[d].item(), hit))
    flat.sort(key=lambda pair: -pair[0])
    hits = np.cumsum([hit for _, hit in flat])
    precision, recall = hits / np.arange(1, len(flat) + 1), hits / there
    reached = [precision[recall >= r] for r in np.linspace(0, 1, 101)]
    return np.mean([p.max() if len(p) else 0.0 for p in reached])


def random_images(seed, images=8, classes=2):
    random = np.random.default_rng(seed)
    made = []
    for _ in range(images):
        gold = random.integers(0, 10, (3, 2))
        gold = np.concatenate([gold, gold + random.integers(4, 8, (3, 2))], axis=1).astype(float)
        said = np.concatenate([gold + random.normal(0, 0.7, gold.shape), gold[:1] + 6])
        kinds = random.integers(0, classes, (3, 1))
        gold = torch.tensor(np.concatenate([gold, kinds], axis=1)).float()
        said = torch.tensor(np.concatenate([said, [*kinds, [0]]], axis=1)).float()
        made.append((said, torch.tensor(random.random(4)), gold))
    return made


@pytest.mark.parametrize("seed", range(3))
def test_mean_average_precision_follows_cocos_procedure(seed):
    images = random_images(seed)
    metric = MeanAveragePrecision(classes=3)  # one of which never appears
    metric.update(*map(list, zip(*images[:3], strict=True)))
    metric.update(*map(list, zip(*images[3:], strict=True)))
    table = np.array(
        [[plain_average_precision(images, c, t) for t in np.arange(0.5, 1, 0.05)] for c in (0, 1)]
    )
    expected = {"map": table.mean(), "map50": table[:, 0].mean(), "map75": table[:, 5].mean()}
    assert metric.compute() == pytest.approx(expected)
    intervals = metric.intervals(resamples=50)
    assert intervals == metric.intervals(resamples=50)
    for name, interval in intervals.items():
        assert interval.mean == pytest.approx(expected[name])
        assert interval.low < interval.mean < interval.high


def coco_figures(images, classes):
    """The first three numbers of pycocotools' own summary."""
    coco = pytest.importorskip("pycocotools.coco")
    from pycocotools.cocoeval import COCOeval

    def box(row):
        left, top, right, bottom = row[:4].tolist()
        sides = {"bbox": [left, top, right - left, bottom - top]}
        return sides | {"area": (right - left) * (bottom - top), "category_id": int(row[4])}

    gold = coco.COCO()
    gold.dataset = {
        "info": {},
        "images": [{"id": i} for i in range(len(images))],
        "categories": [{"id": c} for c in range(classes)],
        "annotations": [],
    }
    detections = []
    for i, (said, confidence, right) in enumerate(images):
        for row in right:
            number = len(gold.dataset["annotations"]) + 1
            more = {"id": number, "image_id": i, "iscrowd": 0}
            gold.dataset["annotations"].append(box(row) | more)
        pairs = zip(said, confidence.tolist(), strict=True)
        detections += [box(row) | {"image_id": i, "score": score} for row, score in pairs]
    gold.createIndex()
    evaluation = COCOeval(gold, gold.loadRes(detections), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return dict(zip(("map", "map50", "map75"), evaluation.stats[:3].tolist(), strict=True))


@pytest.mark.parametrize("seed", range(3))
def test_mean_average_precision_is_that_of_pycocotools(seed):
    images = random_images(seed, images=12)
    metric = MeanAveragePrecision(classes=2)
    metric.update(*map(list, zip(*images, strict=True)))
    assert metric.compute() == pytest.approx(coco_figures(images, classes=2), abs=1e-6)


def test_a_false_alarm_below_every_hit_costs_nothing_and_above_it_does():
    gold = [boxes([0, 0, 4, 4, 0])]
    said = [boxes([0, 0, 4, 4, 0], [6, 6, 9, 9, 0])]
    below, above = MeanAveragePrecision(classes=1), MeanAveragePrecision(classes=1)
    below.update(said, [torch.tensor([0.9, 0.1])], gold)
    above.update(said, [torch.tensor([0.1, 0.9])], gold)
    assert below.compute()["map"] == pytest.approx(1.0)
    assert above.compute()["map"] == pytest.approx(0.5)


def test_images_without_boxes_or_detections_are_counted():
    metric = MeanAveragePrecision(classes=1)
    metric.update(
        [boxes(), boxes([0, 0, 1, 1, 0])],
        [torch.empty(0), torch.tensor([0.9])],
        [boxes([0, 0, 1, 1, 0]), boxes()],
    )
    assert metric.compute()["map"] == 0.0
