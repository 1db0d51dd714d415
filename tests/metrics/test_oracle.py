"""No map beats the oracle, whatever the figure and the link rule; random maps score their mean."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attnlab.config.evaluation import LinkRule, MapFigure, MapMetrics
from attnlab.metrics.controls import controls
from attnlab.metrics.figures import facts
from attnlab.metrics.links import Above, Argmax, Top
from attnlab.metrics.pooled import MapMetric, map_metrics
from attnlab.metrics.rationale import IouF1, TokenF1
from tests.maps import random_batch, random_maps

RULES = [
    {"kind": "argmax", "minimum": 0.0},
    {"kind": "argmax", "minimum": 0.4},
    {"kind": "above", "times": 0.7},
    {"kind": "above", "times": 2.0},
    {"kind": "top", "share": 0.2},
    {"kind": "top", "share": 0.6},
    {"kind": "path", "level": 0.5},
]
FIGURES = sorted(MapFigure.kinds())
MAPS = ("random", "ties", "peaked", "sigmoid", "nothing", "gold", "permuted")


def metrics(rule: dict, iou: float = 0.5) -> list[MapMetric]:
    config = {"name": "all", "figures": FIGURES, "links": rule, "iou": iou, "tolerance": 1}
    return map_metrics(MapMetrics.model_validate(config))


def some_map(kind: str, seed: int, target) -> torch.Tensor:
    random = random_maps(seed, target, ties=kind == "ties").double()
    made = {"peaked": (20 * random).softmax(-1), "nothing": torch.zeros_like(random)}
    made |= {"sigmoid": random / random.amax(-1, keepdim=True), "gold": target.distribution()}
    made |= {"permuted": controls(target, seed=seed)["permuted"]}
    found = made.get(kind, random)
    return found if kind == "sigmoid" else found / found.sum(-1, keepdim=True).clamp_min(1)


def targets(seed: int, kind: str):
    target = random_batch(seed, kind, examples=4)
    points = torch.from_numpy(np.random.default_rng(seed).integers(0, 3, target.weights.shape))
    return replace(target, points=points.float())


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    gold=st.sampled_from(["hard", "soft", "sure_possible"]),
    kind=st.sampled_from(MAPS),
    rule=st.sampled_from(RULES),
    iou=st.sampled_from([0.5, 0.7]),
)
def test_no_map_beats_the_oracle(seed, gold, kind, rule, iou):
    target = targets(seed, gold)
    maps = {"model": some_map(kind, seed + 1, target), "uniform": controls(target)["uniform"]}
    for name, weights in maps.items():
        for model, oracle in zip(metrics(rule, iou), metrics(rule, iou), strict=True):
            if kind == "sigmoid" and model.figures[0] == "mass_on_gold":
                continue  # weights that do not sum to one have no greatest mass
            model.update(weights, target)
            oracle.update_best(target)
            reached = oracle.compute()
            for figure, value in model.compute().items():
                better = facts(figure).higher_is_better
                if better is None or math.isnan(value) or math.isnan(reached[figure]):
                    continue
                sign = 1 if better else -1
                assert sign * reached[figure] >= sign * value - 1e-6, (name, figure, value)


def test_rules_are_all_held_against_the_oracle():
    assert {rule["kind"] for rule in RULES} == set(LinkRule.kinds())


def expected_links(rule, keys: int) -> float:
    """The share of the keys that a random distribution has linked."""
    if isinstance(rule, Argmax):
        return 1 / keys
    if isinstance(rule, Top):
        return max(round(rule.share * keys), 1) / keys
    # A coordinate of an even draw from all distributions exceeds x with chance (1 - x)^(n - 1).
    return max(1 - rule.times / keys, 0) ** (keys - 1)


@pytest.mark.parametrize("rule", [Argmax(minimum=0.0), Top(share=0.2), Above(times=1.5)])
def test_random_maps_score_their_expectation(rule):
    target = random_batch(3, examples=20)
    hits = predicted = gold = 0.0
    for i, j in target.query_mask.nonzero().tolist():
        marked = (target.marks() & target.keys())[i, j].sum().item()
        keys = int(target.key_mask[i].sum())
        hits += marked * expected_links(rule, keys)
        predicted += keys * expected_links(rule, keys)
        gold += marked
    metric, uniform = TokenF1(rule), TokenF1(rule)
    for seed in range(300):
        metric.update(controls(target, seed=seed)["random"], target)
    uniform.update(controls(target)["uniform"], target)
    found, tied = metric.compute(), uniform.compute()
    assert found["token_precision"] == pytest.approx(hits / predicted, abs=0.01)
    assert found["token_recall"] == pytest.approx(hits / gold, abs=0.01)
    if not isinstance(rule, Above):  # which links no key of a uniform map
        assert tied["token_precision"] == pytest.approx(hits / predicted)
        assert tied["token_recall"] == pytest.approx(hits / gold)


@pytest.mark.parametrize("rule", [Argmax(minimum=0.0), Top(share=0.3)])
def test_uniform_stretches_score_like_those_of_random_orders(rule):
    """Under a rule that sees the order alone, ties are an average over orders."""
    target = random_batch(4, examples=60)
    uniform, noisy = IouF1(rule, 0.5), IouF1(rule, 0.5)
    uniform.update(controls(target)["uniform"], target)
    random = torch.Generator().manual_seed(0)
    for _ in range(20):
        noise = 1e-6 * torch.rand(target.weights.shape, generator=random, dtype=torch.double)
        noisy.update((1 + noise) / target.weights.shape[-1], target)
    expected = noisy.compute()
    assert uniform.compute() == pytest.approx(expected, abs=0.03)


def test_uniform_map_under_top_is_no_perfect_recall():
    target = random_batch(5, examples=30)
    metric = TokenF1(Top(share=0.2))
    metric.update(controls(target)["uniform"], target)
    assert metric.compute()["token_recall"] < 0.4
