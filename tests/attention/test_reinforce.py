"""Attention that draws its keys, and what trains it."""

from __future__ import annotations

import pytest
import torch

from attnlab.attention.mask import Mask
from attnlab.attention.probes import Tap
from attnlab.attention.reinforce import MovingBaseline, log_probability, reinforce_loss
from tests.attention.mechanisms import attention, inputs, named


@pytest.mark.parametrize("name", ["hard", "reinforce"])
def test_draws_one_allowed_key_by_its_chance(name: str) -> None:
    mechanism = attention(named(name)).train()
    query, key = inputs("cross", queries=1, batch=1)
    mask = Mask(keys=torch.tensor([[True, True, True, True, False, False]]))
    chances = mechanism.log_weights(query, key, mask).exp().expand(4000, -1, -1, -1)
    many = Mask(keys=mask.keys.expand(4000, -1))
    torch.manual_seed(0)
    with Tap(mechanism, "decoder.cross.0") as tap:
        mechanism(query.expand(4000, -1, -1), key.expand(4000, -1, -1), key, many)
    used = tap.used()
    assert (used.sum(-1) == 1).all()
    torch.testing.assert_close(used.mean(0), chances[0], atol=0.04, rtol=0)


@pytest.mark.parametrize("name", ["hard", "reinforce"])
def test_takes_the_best_key_in_evaluation(name: str) -> None:
    mechanism = attention(named(name))
    query, key = inputs("cross")
    best = mechanism.log_weights(query, key).argmax(-1)
    context = mechanism(query, key, key)
    expected = torch.stack([k[b] for k, b in zip(key, best[:, 0], strict=True)])
    torch.testing.assert_close(context, expected)


def test_straight_through_carries_a_gradient() -> None:
    mechanism = attention(named("hard")).train()
    query, key = inputs("cross")
    mechanism(query, key, key).square().sum().backward()
    assert mechanism.score.energy.grad.abs().sum() > 0


def test_reinforce_has_the_gradient_of_the_expected_reward() -> None:
    """One query, a reward for each key: against the exact gradient of sum_j p_j reward_j."""
    mechanism = attention(named("reinforce")).train()
    query, key = inputs("cross", queries=1, batch=1)
    reward = torch.linspace(-1, 1, 6).double()
    parameter = mechanism.score.energy
    expected = (mechanism.log_weights(query, key).exp()[0, 0, 0] * reward).sum()
    (exact,) = torch.autograd.grad(-expected, parameter)
    many = 20_000
    torch.manual_seed(0)
    with Tap(mechanism, "decoder.cross.0") as tap:
        mechanism(query.expand(many, -1, -1), key.expand(many, -1, -1), key)
    got = (tap.used()[:, 0, 0] * reward).sum(-1)
    baseline = MovingBaseline()
    (found,) = torch.autograd.grad(reinforce_loss(tap, got, baseline), parameter)
    torch.testing.assert_close(found, exact, atol=0.02, rtol=0.1)


def test_query_mask_leaves_queries_out() -> None:
    mechanism = attention(named("reinforce")).train()
    query, key = inputs("cross")
    with Tap(mechanism, "decoder.cross.0") as tap:
        mechanism(query, key, key)
    none = log_probability(tap, torch.zeros(2, 4))
    assert (none == 0).all()
    assert (log_probability(tap) < 0).all()


def test_moving_baseline_follows_the_reward() -> None:
    baseline = MovingBaseline(momentum=0.5)
    assert baseline(torch.tensor([2.0, 4.0])) == 3
    assert baseline(torch.tensor([5.0])) == 4
    baseline.eval()
    assert baseline(torch.tensor([100.0])) == 4
    assert set(baseline.state_dict()) == {"mean", "started"}
