"""Where one mechanism becomes another."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attnlab.attention.mask import Mask
from attnlab.attention.mechanism import Attention
from attnlab.config.combinations import is_recurrent
from tests.attention.mechanisms import NAMED, attention, inputs, named


def _weights(name: str, role: str = "self", **parts: dict[str, object]) -> torch.Tensor:
    config = named(name)
    for part, changes in parts.items():
        own = getattr(config, part).model_copy(update=changes)
        config = config.model_copy(update={part: own})
    mechanism, (query, key) = attention(config, role), inputs(role)
    return mechanism.weights(query, key)


def test_a_wide_window_is_global() -> None:
    wide = _weights("window", structure={"left": 99, "right": 99})
    torch.testing.assert_close(wide, _weights("multihead"))


def test_entmax_goes_from_softmax_to_sparsemax() -> None:
    near_softmax = _weights("entmax", "cross", normalizer={"alpha": 1.0001})
    softmax = _weights("additive", "cross")
    torch.testing.assert_close(near_softmax, softmax, atol=1e-3, rtol=1e-2)
    at_sparsemax = _weights("entmax", "cross", normalizer={"alpha": 2.0})
    torch.testing.assert_close(at_sparsemax, _weights("sparsemax", "cross"))


def test_top_k_of_all_keys_is_softmax() -> None:
    torch.testing.assert_close(_weights("top_k", normalizer={"keep": 6}), _weights("multihead"))


def test_a_deep_sink_is_softmax() -> None:
    deep = _weights("sink", normalizer={"initial": -50.0})
    torch.testing.assert_close(deep, _weights("multihead"), atol=1e-6, rtol=1e-5)


def test_uniform_is_the_mean() -> None:
    mechanism, (query, key) = attention(named("uniform")), inputs("cross")
    expected = key.mean(1, keepdim=True).expand(-1, 4, -1)
    torch.testing.assert_close(mechanism(query, key, key), expected)


def test_squeeze_and_excitation_weighs_channels() -> None:
    mechanism, (query, key) = attention(named("se")), inputs("cross")
    gate = mechanism.heads.network(key.mean(1)).sigmoid()
    expected = (key * gate[:, None]).mean(1, keepdim=True).expand(-1, 4, -1)
    torch.testing.assert_close(mechanism(query, key, key), expected)


def test_dropout_acts_on_contexts_and_not_on_maps() -> None:
    for name in ("additive", "multihead"):
        mechanism = attention(named(name, dropout=0.5)).train()
        query, key = inputs("cross")
        assert not torch.equal(mechanism(query, key, key), mechanism(query, key, key))
        one, other = mechanism.weights(query, key), mechanism.weights(query, key)
        assert torch.equal(one, other)
        assert torch.allclose(one.sum(-1), torch.ones(()).double())


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_keeps_fp32_maps(name: str, dtype: torch.dtype) -> None:
    """Contexts come in the inputs' type; maps are fp32, their rows sum as in float64."""
    mechanism, (query, key) = attention(named(name)), inputs("cross")
    exact = mechanism.weights(query, key)
    context = mechanism(query, key, key)
    low = mechanism.to(dtype)
    query, key = query.to(dtype), key.to(dtype)
    weights, found = low.weights(query, key), low(query, key, key)
    assert weights.dtype == torch.float32
    assert found.dtype == dtype
    if name not in ("hard", "reinforce", "top_k", "local"):  # near ties may fall the other way
        torch.testing.assert_close(weights.double(), exact, atol=0.05, rtol=0.1)
        torch.testing.assert_close(found.double(), context, atol=0.15, rtol=0.15)


@pytest.mark.parametrize("name", ["multihead", "additive", "entmax", "grouped_query", "linear"])
@settings(max_examples=15, deadline=None)
@given(
    batch=st.integers(1, 3),
    queries=st.integers(1, 9),
    keys=st.integers(1, 40),
    heads=st.sampled_from([1, 2, 4]),
    width=st.integers(1, 5),
    causal=st.booleans(),
)
def test_any_shape(
    name: str, batch: int, queries: int, keys: int, heads: int, width: int, causal: bool
) -> None:
    """Fast kernel and reference agree, whatever the sizes."""
    config = named(name)
    if "count" in type(config.heads).model_fields:
        groups = {"groups": heads} if "groups" in type(config.heads).model_fields else {}
        own = config.heads.model_copy(update={"count": heads, **groups})
        config = config.model_copy(update={"heads": own})
    torch.manual_seed(batch * 1000 + keys)
    dims = dict.fromkeys(("query_dim", "key_dim", "value_dim"), heads * width)
    mechanism = Attention(config, **dims, output_dim=None, site="decoder.cross.0").double()
    query = torch.randn(batch, queries, heads * width).double()
    key = torch.randn(batch, keys, heads * width).double()
    mask = Mask(keys=torch.rand(batch, keys) > 0.3, causal=causal)
    fast = mechanism(query, key, key, mask)
    mechanism.kernels.forced = "reference"
    torch.testing.assert_close(fast, mechanism(query, key, key, mask), atol=1e-9, rtol=1e-6)


@pytest.mark.parametrize("name", NAMED)
def test_every_parameter_learns(name: str) -> None:
    """A step of training: every parameter that the mechanism has gets a gradient."""
    config = named(name)
    role = "cross" if is_recurrent(config) else "self"
    mechanism, (query, key) = attention(config, role).train(), inputs(role)
    key.requires_grad_()
    logs = mechanism.log_weights(query, key)
    (mechanism(query, key, key).square().sum() + logs.clamp_min(-9).sum()).backward()
    for label, parameter in mechanism.named_parameters():
        if parameter.requires_grad and label not in ("score.bias", "heads.key.bias"):
            assert parameter.grad is not None, label


@pytest.mark.parametrize("name", ["additive", "multihead", "entmax"])
def test_can_be_exported(name: str) -> None:
    """A graph of torch's own operators, with the same results."""
    mechanism, (query, key) = attention(named(name)), inputs("cross")
    exported = torch.export.export(mechanism, (query, key, key))
    torch.testing.assert_close(exported.module()(query, key, key), mechanism(query, key, key))
