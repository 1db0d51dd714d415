"""Taps, probes, interventions and the names by which maps are asked for."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from attnlab.attention.mask import Mask
from attnlab.attention.probes import Probe
from attnlab.attention.taps import Intervention, Tap, resolve, sites, watched
from attnlab.config.combinations import is_recurrent
from attnlab.errors import UserError
from tests.attention.mechanisms import DIM, NAMED, attention, named


class Decoder(nn.Module):
    """Two layers of self-attention, and a decoder that attends to them step by step or at once."""

    def __init__(self, cross: str = "additive", stepwise: bool = False) -> None:
        super().__init__()
        self.first = attention(named("multihead"), "self", seed=1)
        self.second = attention(named("multihead"), "self", seed=2)
        self.second.site = "encoder.self.1"
        self.cross = attention(named(cross), "cross", seed=3)
        self.stepwise = stepwise

    def forward(self, x: Tensor, query: Tensor, mask: Mask) -> Tensor:
        x = self.second(self.first(x, x, x, mask), x, x, mask)
        if not self.stepwise:
            return self.cross(query, x, x, mask)
        state = self.cross.start(x, x, mask)
        steps = [self.cross(q, None, None, state=state) for q in query.split(1, dim=1)]
        return torch.cat(steps, dim=1)


def _batch() -> tuple[Tensor, Tensor, Mask]:
    torch.manual_seed(0)
    keys = torch.arange(6) < torch.tensor([6, 4, 5])[:, None]
    x, query = torch.randn(3, 6, DIM).double(), torch.randn(3, 4, DIM).double()
    return x, query, Mask(keys=keys)


def test_sites_in_order() -> None:
    assert list(sites(Decoder())) == ["encoder.self.0", "encoder.self.1", "decoder.cross.0"]


@pytest.mark.parametrize(
    ("selector", "site", "heads", "mean"),
    [
        ("encoder.self.1", "encoder.self.1", None, False),
        ("encoder.self.-2/head=0", "encoder.self.0", (0,), False),
        ("encoder.self.-1/heads=0,-1", "encoder.self.1", (0, 3), False),
        ("decoder.cross/heads=mean", "decoder.cross.0", None, True),
        ("encoder.self.0/heads=all", "encoder.self.0", None, False),
    ],
)
def test_selectors(selector: str, site: str, heads: tuple[int, ...] | None, mean: bool) -> None:
    found = resolve(Decoder(), selector)
    assert (found.attention.site, found.heads, found.mean) == (site, heads, mean)


@pytest.mark.parametrize(
    ("selector", "message"),
    [
        ("decoder.crss.0", "did you mean 'decoder.cross.0'?"),
        ("encoder.self.7", "encoder.self.1"),
        ("encoder.self.-3", "no site 'encoder.self.-3'"),
        ("encoder.self", "no site 'encoder.self'"),
        ("encoder.self.0/head=4", "no head 4; encoder.self.0 has 4, allowed: 0 to 3"),
        ("encoder.self.0/haeds=1", "allowed: head=0, heads=0,2, heads=mean"),
    ],
)
def test_wrong_selectors_say_what_there_is(selector: str, message: str) -> None:
    with pytest.raises(UserError) as raised:
        resolve(Decoder(), selector)
    assert message in str(raised.value)


@pytest.mark.parametrize("stepwise", [False, True])
@pytest.mark.parametrize("cross", NAMED)
def test_tap_and_probe_see_the_map_of_the_forward_pass(cross: str, stepwise: bool) -> None:
    """For every mechanism, at once and step by step, and the output is the same as without."""
    model, batch = Decoder(cross, stepwise), _batch()
    plain = model(*batch)
    with Tap(model, "decoder.cross.0") as tap, Probe(model, ["decoder.cross.0"]) as probe:
        watched = model(*batch)
    assert torch.equal(plain, watched)
    x, query, mask = batch
    encoded = model.second(model.first(x, x, x, mask), x, x, mask)
    expected = model.cross.weights(query, encoded, mask)
    torch.testing.assert_close(tap.weights(), expected, atol=1e-9, rtol=1e-6)
    torch.testing.assert_close(
        tap.log_weights(), model.cross.log_weights(query, encoded, mask), atol=1e-8, rtol=1e-6
    )
    found = probe.maps()["decoder.cross.0"]
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=1e-6)
    assert not found.requires_grad


def test_tap_is_part_of_the_graph() -> None:
    model, (x, query, mask) = Decoder("additive", stepwise=True), _batch()
    x.requires_grad_()
    with Tap(model, "decoder.cross.0") as tap:
        model(x, query, mask)
    tap.log_weights().clamp_min(-10).sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0
    assert model.cross.score.energy.grad is not None


def test_tap_takes_the_mean_of_weights_not_of_logarithms() -> None:
    model, batch = Decoder(), _batch()
    with Tap(model, "encoder.self.0/heads=mean") as mean, Tap(model, "encoder.self.0") as whole:
        model(*batch)
    expected = whole.weights().mean(1, keepdim=True)
    torch.testing.assert_close(mean.weights(), expected)
    seen = expected > 0
    torch.testing.assert_close(mean.log_weights().exp()[seen], expected[seen])


def test_nothing_stays_attached() -> None:
    model, batch = Decoder(), _batch()
    with pytest.raises(RuntimeError, match="stop"), Tap(model, "decoder.cross.0"):
        raise RuntimeError("stop")
    model(*batch)
    for attended in sites(model).values():
        assert not attended.attached.observers
        assert not attended.attached.changes
    with Tap(model, "decoder.cross.0") as tap:
        pass
    with pytest.raises(RuntimeError, match="nothing passed decoder"):
        tap.weights()


def test_probe_takes_examples_heads_and_rows() -> None:
    model, batch = Decoder(), _batch()
    everything = Probe(model, ["encoder.self.0"])
    some = Probe(model, ["encoder.self.0"], examples=[2, 0, 9], heads=[1], rows=[0, 3])
    with everything, some:
        model(*batch)
    whole = everything.maps()["encoder.self.0"]
    torch.testing.assert_close(some.maps()["encoder.self.0"], whole[[2, 0]][:, [1]][:, :, [0, 3]])


def test_probe_keeps_no_graph_and_only_its_examples() -> None:
    model, batch = Decoder(), _batch()
    with Probe(model, ["encoder.self.0"], examples=[1]) as probe:
        model(*batch)
    call = probe.sites["encoder.self.0"].calls[0]
    assert call.query.shape[0] == call.key.shape[0] == 1
    assert call.value is None
    assert not call.query.requires_grad
    probe.clear()
    assert probe.maps() == {}


def test_probe_shows_the_map_before_dropout() -> None:
    model, batch = Decoder(), _batch()
    model.first.dropout = 0.9
    model.train()
    with Probe(model, ["encoder.self.0"]) as probe:
        model(*batch)
    total = probe.maps()["encoder.self.0"].sum(-1)
    torch.testing.assert_close(total, torch.ones_like(total))


@pytest.mark.parametrize("cross", ["multihead", "location_aware", "monotonic", "hierarchical"])
@pytest.mark.parametrize("stepwise", [False, True])
def test_statistics_are_those_of_the_map(cross: str, stepwise: bool) -> None:
    model, batch = Decoder(cross, stepwise), _batch()
    selector = "decoder.cross.0"
    with Probe(model, [selector], examples=[0, 1]) as probe:
        model(*batch)
    weights = probe.maps()[selector]
    found = probe.statistics(rows_at_once=3)[selector]
    apart = (torch.arange(4)[:, None] - torch.arange(6)).abs().double()
    torch.testing.assert_close(found.entropy, -torch.xlogy(weights, weights).sum(-1))
    torch.testing.assert_close(found.maximum, weights.amax(-1))
    torch.testing.assert_close(found.distance, (weights * apart).sum(-1))
    torch.testing.assert_close(found.received, weights.sum(2))


def test_entropy_of_signed_maps_is_that_of_their_positive_part() -> None:
    mechanism = attention(named("differential"), "self")
    x, _, mask = _batch()
    with Probe(mechanism, ["encoder.self.0"]) as probe:
        mechanism(x, x, x, mask)
    weights = probe.maps()["encoder.self.0"]
    found = probe.statistics()["encoder.self.0"].entropy
    assert (weights < 0).any()
    assert found.isfinite().all()
    torch.testing.assert_close(found, torch.special.entr(weights.clamp_min(0)).sum(-1))


def test_statistics_never_hold_the_map() -> None:
    """At 2,048 queries the largest tensor made has a tile's rows, not all rows."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Largest(TorchDispatchMode):
        size = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            made = function(*args, **(kwargs or {}))
            if isinstance(made, Tensor):
                Largest.size = max(Largest.size, made.numel())
            return made

    mechanism = attention(named("multihead"), "self")
    x = torch.randn(1, 2048, DIM).double()
    with Probe(mechanism, ["encoder.self.0"]) as probe:
        mechanism(x, x, x)
    with Largest():
        probe.statistics(rows_at_once=64)
    assert Largest.size <= 4 * 64 * 2048


def test_self_attention_that_grows_gives_statistics_too() -> None:
    mechanism = attention(named("multihead"), "self")
    x, _, _ = _batch()
    state = mechanism.start(None, None)
    with Probe(mechanism, ["encoder.self.0"]) as probe:
        for step in x.split(1, dim=1):
            mechanism(step, step, step, Mask(causal=True), state=state)
    found = probe.statistics()["encoder.self.0"]
    assert found.received.shape == (3, 4, 6)
    torch.testing.assert_close(found.received.sum(-1), torch.full((3, 4), 6.0).double())


@pytest.mark.parametrize("cross", NAMED)
@pytest.mark.parametrize("stepwise", [False, True])
def test_intervention_changes_the_context(cross: str, stepwise: bool) -> None:
    """The same weights leave the output as it is, others do not, and nothing stays."""
    model, batch = Decoder(cross, stepwise), _batch()
    plain = model(*batch)
    with Intervention(model, "decoder.cross.0", lambda weights, allowed: weights):
        torch.testing.assert_close(model(*batch), plain, atol=1e-9, rtol=1e-6)
    seen = []

    def frozen(weights: Tensor, allowed: Tensor | None) -> Tensor:
        seen.append((weights.shape, allowed))
        flat = torch.ones_like(weights)
        flat = flat if allowed is None else flat * allowed
        return flat / flat.sum(-1, keepdim=True).clamp_min(1)

    with Intervention(model, "decoder.cross.0", frozen):
        changed = model(*batch)
    heads = model.cross.heads.count
    per_call = 1 if stepwise or is_recurrent(named(cross)) else 4
    assert seen[0][0] == (3, heads, per_call, 6)
    assert seen[0][1] is not None
    if cross not in ("uniform", "se"):
        assert not torch.allclose(changed, plain)
    torch.testing.assert_close(model(*batch), plain)


def test_intervention_on_one_head_leaves_the_others() -> None:
    model, batch = Decoder(), _batch()
    with Intervention(model, "encoder.self.0/head=1", lambda w, a: torch.zeros_like(w)):
        heads_input = []
        hook = model.first.heads.output.register_forward_pre_hook(
            lambda module, args: heads_input.append(args[0])
        )
        model(*batch)
        hook.remove()
    joined = heads_input[0].unflatten(-1, (4, -1))
    assert (joined[:, :, 1] == 0).all()
    assert (joined[:, :, [0, 2, 3]] != 0).any()


def test_who_looks_at_maps_is_known() -> None:
    model = Decoder()
    assert not watched(model)
    with Tap(model, "encoder.self.1"):
        assert watched(model) and not watched(model.first)
    with Intervention(model, "decoder.cross.0", lambda weights, allowed: weights):
        assert watched(model.cross)
    assert not watched(model)
