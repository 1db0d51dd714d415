"""Doubts about labels and gold maps, against cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from cleanlab.filter import find_label_issues
from hypothesis import given
from hypothesis import strategies as st

from attnlab.metrics.label_quality import (
    auroc,
    map_limits,
    outlier_scores,
    unusual_losses,
    wrong_labels,
)


def test_a_label_is_wrong_where_another_is_likelier_than_usual() -> None:
    # Usual probabilities: of label 0 (0.9 + 0.8 + 0.1) / 3 = 0.6, of label 1 (0.7 + 0.5) / 2 = 0.6.
    chances = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.3, 0.7], [0.5, 0.5]])
    labels = np.array([0, 0, 0, 1, 1])
    assert wrong_labels(chances, labels).tolist() == [False, False, True, False, False]


def test_a_label_that_no_example_has_is_no_rival() -> None:
    chances = np.array([[0.2, 0.0, 0.8], [0.4, 0.6, 0.0]])
    assert wrong_labels(chances, np.array([0, 1])).tolist() == [False, False]


@given(seed=st.integers(0, 9999), classes=st.integers(2, 6), right=st.floats(0.3, 1))
def test_labels_in_doubt_are_those_of_cleanlab(seed: int, classes: int, right: float) -> None:
    random = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), random.integers(0, classes, 80)])
    other = random.integers(0, classes, len(labels))
    believed = np.where(random.random(len(labels)) < right, labels, other)
    chances = random.dirichlet(np.full(classes, 0.6), len(labels))
    chances = (chances + np.eye(classes)[believed]) / 2
    doubted = find_label_issues(labels, chances, filter_by="confident_learning", n_jobs=1)
    assert wrong_labels(chances, labels).tolist() == doubted.tolist()


def test_losses_far_above_the_usual_ones_are_unusual() -> None:
    random = np.random.default_rng(0)
    losses = np.concatenate([random.uniform(0.01, 0.05, 50), [9.0]])
    assert unusual_losses(losses).nonzero()[0].tolist() == [50]
    assert not unusual_losses(np.full(5, 0.1)).any()


def test_wrong_maps_begin_between_the_usual_loss_and_that_of_any_other_map() -> None:
    own = np.array([0.5, 0.5, 0.5, 9.0, np.nan])
    others = np.array([8.0, 7.0, 8.0, 9.0, np.nan])
    found = map_limits(own, others)
    assert (found.own, found.others) == (0.5, 8.0)
    assert found.threshold == pytest.approx(2.0)
    assert map_limits(others - 0.5, others).threshold is None


def test_ties_count_half_a_pair() -> None:
    scores = np.array([0.1, 0.5, 0.5, 0.9])
    assert auroc(scores, np.array([False, False, True, True])) == pytest.approx(3.5 / 4)
    assert np.isnan(auroc(scores, np.zeros(4, bool)))


def test_outliers_are_far_from_their_nearest() -> None:
    random = np.random.default_rng(0)
    middle = random.standard_normal((3, 8))
    near = np.concatenate([each + 0.05 * random.standard_normal((700, 8)) for each in middle])
    strangers = random.standard_normal((4, 8))
    found = outlier_scores(np.concatenate([near, strangers]))
    assert np.median(found) == pytest.approx(1, abs=0.01)
    assert set(np.flatnonzero(unusual_losses(found))) == set(range(2100, 2104))
    unit = near / np.linalg.norm(near, axis=1, keepdims=True)
    apart = np.sort(1 - unit[5] @ np.delete(unit, 5, 0).T)[:5].mean()
    assert found[5] / found[6] == pytest.approx(
        apart / np.sort(1 - unit[6] @ np.delete(unit, 6, 0).T)[:5].mean()
    )
    assert outlier_scores(np.ones((1, 3))).tolist() == [1.0]
