"""Mass on gold and pointing against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from attnlab.metrics.controls import controls
from attnlab.metrics.divergence import EnergyPointing, MassOnGold, PointingGame
from tests.maps import random_batch, random_maps, rows_of


def figure(metric, weights, target):
    metric.update(weights, target)
    return metric.compute()[metric.figures[0]]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", ["hard", "sure_possible"])
def test_mass_energy_and_pointing_follow_their_definitions(seed, kind):
    target = random_batch(seed, kind)
    weights = random_maps(seed, target)
    rows = list(rows_of(weights, target))
    mass = np.mean([w[m].sum() for w, _, m in rows])
    energy = np.mean([w[m].sum() / w.sum() for w, _, m in rows])
    pointing = np.mean([m[w.argmax()] for w, _, m in rows])
    assert figure(MassOnGold(), weights, target) == pytest.approx(mass)
    assert figure(EnergyPointing(), weights, target) == pytest.approx(energy)
    assert figure(PointingGame(), weights, target) == pytest.approx(pointing)
    assert mass < energy  # mass on hidden keys is lost to the one, left out by the other


def test_tied_peaks_score_what_a_fair_choice_would():
    target = random_batch(3)
    uniform = controls(target)["uniform"]
    chance = np.mean([m.mean() for _, _, m in rows_of(uniform, target)])
    assert figure(PointingGame(), uniform, target) == pytest.approx(chance)


def test_rows_without_annotation_do_not_count():
    target = random_batch(0)
    weights = random_maps(0, target)
    before = figure(MassOnGold(), weights, target)
    weights[~target.query_mask] = torch.rand(())
    assert figure(MassOnGold(), weights, target) == pytest.approx(before)
