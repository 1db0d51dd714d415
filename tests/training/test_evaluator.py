"""The loss of a whole split."""

from __future__ import annotations

import math

import pytest
import torch

from attnlab.training.evaluator import MeanLoss


def test_the_loss_of_a_split_is_the_mean_over_its_units() -> None:
    loss = MeanLoss()
    loss.update(torch.tensor([6.0, 2.0]), torch.tensor([3, 1]))
    loss.update(torch.tensor([1.0]), torch.tensor([4]))
    assert float(loss.compute()) == pytest.approx(9 / 8)


def test_a_batch_without_a_finite_loss_is_not_left_out() -> None:
    loss = MeanLoss()
    loss.update(torch.tensor([6.0]), torch.tensor([3]))
    loss.update(torch.tensor([math.nan]), torch.tensor([1]))
    assert math.isnan(loss.compute())


def test_a_batch_of_which_nothing_counts_changes_nothing() -> None:
    loss = MeanLoss()
    loss.update(torch.tensor([6.0]), torch.tensor([3]))
    loss.update(torch.tensor([0.0]), torch.tensor([0]))
    assert float(loss.compute()) == 2
