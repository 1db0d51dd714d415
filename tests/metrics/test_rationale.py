"""Rationale metrics against scikit-learn and plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from maps import random_batch, random_maps, rows_of
from sklearn.metrics import auc, average_precision_score, f1_score, precision_recall_curve

from attnlab.data.target_batch import TargetBatch
from attnlab.metrics.controls import controls
from attnlab.metrics.links import Above, Argmax, Top
from attnlab.metrics.rationale import Auprc, AveragePrecision, TokenF1


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
