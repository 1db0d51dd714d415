"""A kernel that the user forces serves a call rightly, or says that it cannot."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from attnlab.attention.mask import Mask
from attnlab.attention.mechanism import Attention
from attnlab.config.combinations import kernels_for
from attnlab.errors import UserError
from tests.attention.mechanisms import DIM, NAMED, attention, inputs, named, roles

SERVED = [
    (name, role, kernel)
    for name in NAMED
    for role in ("cross", "causal")
    if role in roles(named(name))
    for kernel in kernels_for(named(name))
    if kernel not in ("flex", "nystrom")  # CUDA alone; refused where text is generated
]


def _forced(name: str, kernel: str, role: str = "self") -> Attention:
    return attention(named(name, kernel=kernel), role)


@pytest.mark.parametrize(("name", "role", "kernel"), SERVED)
def test_steps_equal_the_whole_with_each_kernel(name: str, role: str, kernel: str) -> None:
    mechanism, (query, key) = _forced(name, kernel, role), inputs(role)
    expected = attention(named(name, kernel="reference"), role)(
        query, key, key, Mask(causal=role == "causal")
    )
    torch.testing.assert_close(_steps(mechanism, role, query, key), expected, atol=1e-9, rtol=1e-6)


def _steps(mechanism: Attention, role: str, query: Tensor, key: Tensor) -> Tensor:
    if role == "cross":
        state = mechanism.start(key, key)
        steps = [mechanism(step, None, None, state=state) for step in query.split(1, dim=1)]
    else:
        state, mask = mechanism.start(None, None), Mask(causal=True)
        steps = [mechanism(s, s, s, mask, state=state) for s in key.split((2, 1, 3), dim=1)]
    return torch.cat(steps, dim=1)


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        (Mask(window=(1, 1)), "a rule over positions"),
        (Mask(custom=torch.ones(2, 1, 6, 6, dtype=torch.bool)), "a custom mask"),
    ],
)
def test_linear_refuses_masks_that_it_cannot_serve(mask: Mask, reason: str) -> None:
    mechanism, (x, _) = _forced("linear", "linear"), inputs("self")
    with pytest.raises(UserError, match=r"attention\.kernel=linear cannot serve") as raised:
        mechanism(x, x, x, mask)
    assert reason in str(raised.value)
    assert "auto" in str(raised.value)
    mechanism.weights(x, x, mask)  # the map is made without it


def test_linear_refuses_a_causal_mask_across_two_axes() -> None:
    mechanism, (query, key) = _forced("linear", "linear", "cross"), inputs("cross")
    with pytest.raises(UserError, match=r"attention\.kernel=linear cannot serve"):
        mechanism(query, key, key, Mask(causal=True))


@pytest.mark.parametrize(("name", "kernel"), [("linear", "linear"), ("nystrom", "nystrom")])
def test_no_kernel_forgets_dropout(name: str, kernel: str) -> None:
    config = named(name, kernel=kernel, dropout=0.5)
    mechanism, (x, _) = attention(config, "self").train(), inputs("self")
    with pytest.raises(UserError, match="drops no weights"):
        mechanism(x, x, x)
    mechanism.eval()(x, x, x)


def test_flex_is_refused_on_a_cpu() -> None:
    mechanism, (x, _) = _forced("window", "flex"), inputs("self")
    with pytest.raises(UserError, match=r"attention\.kernel=flex cannot serve.*cuda"):
        mechanism(x, x, x)


@torch.no_grad()
def test_flex_counts_queries_from_where_they_start() -> None:
    """FlexAttention runs forward on a CPU: steps of decoding equal the whole."""
    from attnlab.attention.kernels.fused import Flex

    dims = dict.fromkeys(("query_dim", "key_dim", "value_dim"), DIM * 4)
    torch.manual_seed(0)
    mechanism = Attention(named("window"), **dims, output_dim=None, site="decoder.self.0")
    x = torch.randn(2, 24, DIM * 4)
    mask = Mask(causal=True)
    whole = mechanism.call(x, x, x, mask)
    state = mechanism.start(None, None)
    mechanism(x[:, :20], x[:, :20], x[:, :20], mask, state=state)
    last = mechanism.call(x[:, 20:], x[:, 20:], x[:, 20:], mask, state)
    kernel = Flex()
    assert kernel.obstacle(last) is None
    torch.testing.assert_close(
        kernel.context(last), kernel.context(whole)[:, :, 20:], atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("precision", [torch.bfloat16])
def test_maps_under_autocast_are_fp32(name: str, precision: torch.dtype) -> None:
    """Projections are rounded; what is made of them is not: rows sum as they do in fp32."""
    role = "self" if "self" in roles(named(name)) else "cross"
    mechanism, (query, key) = attention(named(name), role).float(), inputs(role)
    query, key = query.float(), key.float()
    with torch.autocast("cpu", precision):
        call = mechanism.call(query, key)
        weights, logs = mechanism.maps(call), mechanism.maps(call, log=True)
    exact, exact_logs = mechanism.maps(_same(call)), mechanism.maps(_same(call), log=True)
    assert weights.dtype == logs.dtype == torch.float32
    torch.testing.assert_close(weights, exact, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(logs, exact_logs, atol=1e-4, rtol=1e-5)


def _same(call: object) -> object:
    """The call again, without what was computed for it."""
    from dataclasses import replace

    return replace(call)  # type: ignore[type-var]


@pytest.mark.parametrize("name", ["linear", "performer", "nystrom"])
def test_sums_over_keys_under_autocast_are_fp32(name: str) -> None:
    mechanism, (x, _) = attention(named(name), "self").float(), inputs("self")
    x = x.float()
    with torch.autocast("cpu", torch.bfloat16):
        call = mechanism.call(x, x, x)
        context = mechanism.attend(call)
    torch.testing.assert_close(context, mechanism.attend(_same(call)))
