"""Our dropout against what dropout means."""

from __future__ import annotations

import pytest
import torch

from attnlab.models.builder import Dropout, UnitDropout, kept
from attnlab.models.transformer_layers import FeedForward
from tests.models.building import built, small_config, texts


@pytest.mark.parametrize("p", [0.05, 0.3, 0.9])
def test_as_many_are_left_out_as_said_and_the_mean_stays(p: float) -> None:
    torch.manual_seed(0)
    factors = kept(torch.empty(501, 399), p)
    count = factors.numel()
    left_out = float((factors == 0).float().mean())
    assert left_out == pytest.approx(p, abs=4 * (p * (1 - p) / count) ** 0.5)
    assert float(factors.mean()) == pytest.approx(1.0, abs=5e-2)
    assert factors.unique().tolist() == pytest.approx([0.0, 1 / (1 - p)], rel=2e-4)


def test_neighbours_do_not_hang_together() -> None:
    torch.manual_seed(0)
    left_out = (kept(torch.empty(400_000), 0.3) == 0).float() - 0.3
    for distance in (1, 2, 3, 4, 5, 8):
        together = float((left_out[:-distance] * left_out[distance:]).mean()) / 0.21
        assert abs(together) < 4 / 400_000**0.5


def test_gradients_pass_where_activations_do() -> None:
    torch.manual_seed(0)
    states = torch.randn(7, 5, requires_grad=True)
    out = Dropout(0.5)(states)
    out.sum().backward()
    assert states.grad is not None
    torch.testing.assert_close(out, states * states.grad)
    assert set(states.grad.unique().tolist()) == {0.0, 2.0}


def test_nothing_is_left_out_in_use_or_at_zero() -> None:
    states = torch.randn(3, 4)
    assert torch.equal(Dropout(0.5).eval()(states), states)
    assert torch.equal(Dropout(0.0)(states), states)


def test_the_seed_decides() -> None:
    states, drawn = torch.ones(100), []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(Dropout(0.5)(states))
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])


def test_feed_forward_layers_may_have_their_own() -> None:
    examples = texts([2, 3], [3, 4])

    def shares(*overrides: str) -> dict[bool, set[float]]:
        """Of the dropout within feed-forward layers, and of all other."""
        words = ["model=transformer", "attention=dot", "model.dropout=0.3", *overrides]
        model, _, _ = built(small_config(*words), examples)
        layers = [m for m in model.modules() if isinstance(m, FeedForward)]
        within = {id(m) for layer in layers for m in layer.modules() if isinstance(m, Dropout)}
        found: dict[bool, set[float]] = {True: set(), False: set()}
        for module in model.modules():
            if isinstance(module, Dropout):
                found[id(module) in within].add(module.p)
        return found

    assert shares() == {True: {0.3}, False: {0.3}}
    assert shares("model.feedforward_dropout=0") == {True: {0.0}, False: {0.3}}


def test_words_are_hidden_where_they_are_read_and_where_they_are_written() -> None:
    given = small_config("model=transformer", "attention=multihead", "model.unit_dropout=0.5")
    model, batch, _ = built(given, texts([6, 5], [7, 6]))
    seen: list[torch.Tensor] = []
    for module in model.modules():
        if isinstance(module, UnitDropout):
            module.register_forward_hook(lambda _, given, out: seen.append(out != given[0]))
    torch.manual_seed(0)
    model.train()(batch)
    assert len(seen) == 2 and all(hidden.any() for hidden in seen)
    model.eval()(batch)
    assert len(seen) == 4 and not any(hidden.any() for hidden in seen[2:])
