"""Calibration against figures worked out by hand, and a temperature that is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from attnlab.metrics.calibration import (
    Calibration,
    ScoredChoices,
    area_of_risk,
    binned,
    calibration_error,
    risk_curve,
    risks,
    temperature,
)


def choices(scores: torch.Tensor, gold: torch.Tensor) -> ScoredChoices:
    kept = ScoredChoices()
    kept.add(scores, gold)
    return kept


def test_the_error_is_the_mean_gap_over_bins() -> None:
    confidence = np.array([0.95, 0.95, 0.65, 0.65])
    right = np.array([1.0, 0.0, 1.0, 1.0])
    found = calibration_error(confidence, right, np.arange(4))
    assert found.mean == pytest.approx((2 * 0.45 + 2 * 0.35) / 4)
    assert binned(confidence, right) == [
        pytest.approx([0.65, 1.0, 2]),
        pytest.approx([0.95, 0.5, 2]),
    ]


def test_choices_of_one_example_are_resampled_together() -> None:
    confidence, right = np.full(40, 0.95), np.tile([1.0, 0.0], 20)
    alone = calibration_error(confidence, right, np.arange(40))
    pairs = calibration_error(confidence, right, np.arange(40) // 2)
    assert alone.high > alone.low
    assert pairs.high == pytest.approx(pairs.low)  # a right and a wrong one in each


def test_equally_sure_choices_share_their_errors() -> None:
    assert risks(np.array([0.9, 0.5, 0.5]), np.array([1.0, 0.0, 1.0])).tolist() == pytest.approx(
        [0, 0.25, 1 / 3]
    )
    right = np.array([0.0, 1.0, 1.0, 1.0])
    sure_of_the_wrong, unsure = np.array([0.9, 0.8, 0.7, 0.6]), np.array([0.1, 0.8, 0.7, 0.6])
    assert area_of_risk(sure_of_the_wrong, right) == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)
    assert area_of_risk(unsure, right) == pytest.approx(1 / 16)
    assert risk_curve(unsure, right)[-1] == [1.0, 0.25]


def test_scores_that_are_too_large_are_divided_by_what_made_them_so() -> None:
    torch.manual_seed(0)
    scores = torch.randn(4000, 1, 3)
    gold = torch.distributions.Categorical(logits=scores).sample()
    found = temperature(choices(5 * scores, gold))
    assert found == pytest.approx(5, rel=0.1)
    calibration = Calibration.of(choices(5 * scores, gold), found)
    assert calibration.figures["ece"] > 0.2
    assert calibration.figures["ece_scaled"] < 0.03
    assert set(calibration.intervals) == {"ece", "ece_scaled", "aurc"}


def test_risk_of_answers_that_are_all_right_has_an_interval_with_a_width() -> None:
    gold = torch.arange(100)[:, None] % 3
    found = Calibration.of(choices(5.0 * torch.eye(3)[gold], gold), 1.0).intervals["aurc"]
    assert found.low == found.mean == 0 < found.high < 0.05


def test_choices_that_do_not_count_are_left_out() -> None:
    kept = choices(torch.zeros(2, 2, 3), torch.tensor([[1, -100], [2, 0]]))
    kept.add(torch.zeros(1, 2, 3), torch.tensor([[0, 1]]))
    scores, gold, owner = kept.tensors()
    assert scores.shape == (5, 3)
    assert (gold.tolist(), owner.tolist()) == ([1, 2, 0, 0, 1], [0, 1, 1, 2, 2])
