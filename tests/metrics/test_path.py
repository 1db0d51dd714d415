"""Boundaries and monotonicity against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from attnlab.data.target_batch import collate_targets
from attnlab.datasets.targets import span_target
from attnlab.metrics.controls import controls
from attnlab.metrics.links import Above, Path
from attnlab.metrics.path import BoundaryF1, Monotonicity, matched
from tests.maps import random_batch, random_maps

POSITIONS = st.lists(st.integers(0, 15), max_size=8, unique=True).map(sorted)


@given(POSITIONS, POSITIONS, st.integers(0, 4))
def test_boundaries_are_matched_as_well_as_can_be(predicted, gold, tolerance):
    near = np.abs(np.subtract.outer(np.array(predicted, int), np.array(gold, int))) <= tolerance
    best = near[linear_sum_assignment(~near)].sum()
    assert matched(predicted, gold, tolerance) == best


def test_boundaries_within_the_tolerance_are_found_once():
    target = collate_targets([span_target([[(2, 5)], [(6, 9)]], keys=10)], 2, 10)
    weights = torch.zeros(1, 2, 10)
    weights[0, 0, 3:6] = 1 / 3  # both ends one off
    weights[0, 1, [6, 8]] = 1 / 2  # flickers: 6-7, 8-9
    exact, near = (BoundaryF1(Above(times=1.5), tolerance=t) for t in (0, 1))
    for metric in (exact, near):
        metric.update(weights, target)
    assert exact.compute() == pytest.approx(
        {"boundary_f1": 2 * 2 / (6 + 4), "boundary_precision": 2 / 6, "boundary_recall": 2 / 4}
    )
    assert near.compute() == pytest.approx(
        {"boundary_f1": 2 * 4 / (6 + 4), "boundary_precision": 4 / 6, "boundary_recall": 4 / 4}
    )


@pytest.mark.parametrize("seed", range(3))
def test_monotonicity_counts_steps_of_the_peak_over_annotated_rows(seed):
    target = random_batch(seed)
    weights = random_maps(seed, target)
    steps = []
    for b in range(len(weights)):
        rows = [q for q in range(weights.shape[1]) if target.query_mask[b, q]]
        peaks = [int((weights[b, q] * target.key_mask[b]).argmax()) for q in rows]
        steps += np.diff(peaks).tolist()
    metric = Monotonicity()
    metric.update(weights, target)
    assert metric.compute()["monotonicity"] == pytest.approx(np.mean(np.array(steps) >= 0))
    assert metric.compute()["forward_steps"] == pytest.approx(np.mean(np.array(steps) > 0))


def test_a_map_that_never_moves_is_monotone_but_makes_no_step():
    target = random_batch(1)
    metric = Monotonicity()
    metric.update(controls(target)["uniform"], target)
    assert metric.compute() == {"monotonicity": 1.0, "forward_steps": 0.0}


def test_row_without_gold_takes_no_keys_from_others():
    """The end mark looks where the last word is; only one of them can have it."""
    target = collate_targets([span_target([[(1, 4)], None], keys=6)], 2, 6)
    weights = torch.zeros(1, 2, 6)
    weights[0, 0, 1:4] = 1 / 3
    weights[0, 1, 0] = 1
    metric = BoundaryF1(Path(level=0.5), tolerance=0)
    metric.update(weights, target)
    assert metric.compute()["boundary_f1"] == 1
