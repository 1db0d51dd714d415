"""Rationale metrics against scikit-learn and plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import auc, average_precision_score, f1_score, precision_recall_curve

from attnlab.data.target_batch import TargetBatch
from attnlab.metrics.controls import controls
from attnlab.metrics.links import Above, Argmax, Top
from attnlab.metrics.rationale import Auprc, AveragePrecision, IouF1, TokenF1, stretches
from tests.maps import random_batch, random_maps, rows_of


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_average_precision_is_that_of_scikit_learn(seed, ties):
    target = random_batch(seed)
    weights = random_maps(seed, target, ties)
    expected = [average_precision_score(m, w) for w, _, m in rows_of(weights, target)]
    metric = AveragePrecision()
    metric.update(weights, target)
    assert metric.compute()["average_precision"] == pytest.approx(np.mean(expected))


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_auprc_is_the_trapezoid_over_the_curve(seed, ties):
    target = random_batch(seed)
    weights = random_maps(seed, target, ties)
    expected = []
    for row, _, marks in rows_of(weights, target):
        precision, recall, _ = precision_recall_curve(marks, row)
        expected.append(auc(recall, precision))
    metric = Auprc()
    metric.update(weights, target)
    assert metric.compute()["auprc"] == pytest.approx(np.mean(expected))


def test_uniform_weights_flatter_the_trapezoid_but_not_average_precision():
    marks = torch.zeros(1, 1, 10)
    marks[..., :2] = 1  # 20% marked
    target = single(marks)
    uniform = controls(target)["uniform"]
    trapezoid, steps = Auprc(), AveragePrecision()
    trapezoid.update(uniform, target)
    steps.update(uniform, target)
    assert trapezoid.compute()["auprc"] == pytest.approx(0.60)
    assert steps.compute()["average_precision"] == pytest.approx(0.20)


@pytest.mark.parametrize("rule", [Argmax(minimum=0.0), Above(times=1.0), Top(share=0.3)])
@pytest.mark.parametrize("seed", range(3))
def test_token_f1_is_that_of_scikit_learn(seed, rule):
    target = random_batch(seed)
    weights = random_maps(seed, target)
    links = rule.links(weights, target.keys())
    truth, guess, macro = [], [], []
    for i, j in target.query_mask.nonzero().tolist():
        keep = target.key_mask[i]
        gold, said = target.marks()[i, j][keep].numpy(), links[i, j][keep].numpy()
        truth.append(gold)
        guess.append(said)
        macro.append(f1_score(gold, said, zero_division=0))
    metric = TokenF1(rule)
    metric.update(weights, target)
    figures = metric.compute()
    pooled = f1_score(np.concatenate(truth), np.concatenate(guess))
    assert figures["token_f1"] == pytest.approx(pooled)
    assert figures["token_f1_macro"] == pytest.approx(np.mean(macro))


def single(weights):
    queries, keys = weights.shape[1:]
    return TargetBatch(
        weights=weights,
        query_mask=torch.ones(len(weights), queries, dtype=torch.bool),
        key_mask=torch.ones(len(weights), keys, dtype=torch.bool),
        row_mask=torch.ones(len(weights), queries, dtype=torch.bool),
        weight=torch.ones(len(weights)),
    )


def eraser_iou_f1(rows, threshold=0.5):
    """As the published code counts: every prediction that finds something is a hit."""
    precisions, recalls = [], []
    for predicted, gold in rows:
        hits = sum(any(iou(p, g) >= threshold for g in gold) for p in predicted)
        if predicted:
            precisions.append(hits / len(predicted))
        if gold:
            recalls.append(hits / len(gold))
    p, r = np.mean(precisions), np.mean(recalls)
    return 2 * p * r / (p + r) if p + r else 0.0


def iou(one, other):
    a, b = set(range(*one)), set(range(*other))
    return len(a & b) / len(a | b)


def as_rows(*marks):
    made = torch.zeros(len(marks), 1, 12)
    for row, keys in zip(made, marks, strict=True):
        row[0, list(keys)] = 1
    return made


def test_a_stretch_is_found_by_half_of_its_union():
    gold = single(as_rows(range(2, 7)))  # 5 keys
    weights = as_rows([2, 3, 4, 6])  # 2-5 covers 3/5
    metric = IouF1(Above(times=1.0), iou=0.5)
    metric.update(weights / weights.sum(-1, keepdim=True), gold)
    assert metric.compute() == pytest.approx(
        {"iou_f1": 2 / 3, "iou_precision": 1 / 2, "iou_recall": 1, "iou_f1_eraser": 2 / 3}
    )


def test_recall_of_two_is_what_counting_predictions_gives():
    rows = [([(0, 2), (2, 4)], [(0, 4)])]
    hits = sum(any(iou(p, g) >= 0.5 for g in rows[0][1]) for p in rows[0][0])
    assert hits / len(rows[0][1]) == 2.0
    metric = IouF1(Above(times=1.0), iou=0.5)
    found, predicted, gold, *_ = metric._row(*rows[0])
    assert (found, predicted, gold) == (1, 2, 1)


@pytest.mark.parametrize("seed", range(3))
def test_iou_f1_of_eraser_is_reproduced(seed):
    random = np.random.default_rng(seed)
    marks = [random.random(12) < 0.6 for _ in range(8)]
    said = [random.random(12) < 0.6 for _ in range(8)]
    gold = single(as_rows(*[np.flatnonzero(m).tolist() for m in marks]))
    weights = as_rows(*[np.flatnonzero(m).tolist() for m in said])
    rule = Above(times=0.5)
    metric = IouF1(rule, iou=0.5)
    metric.update(weights, gold)
    rows = [(stretches(s), stretches(m)) for s, m in zip(said, marks, strict=True)]
    assert metric.compute()["iou_f1_eraser"] == pytest.approx(eraser_iou_f1(rows))
