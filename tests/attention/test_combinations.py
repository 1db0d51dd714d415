"""What must hold of every mechanism, tried on combinations that cover every legal pair of parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from attnlab.attention.mask import Mask
from attnlab.attention.mechanism import Attention
from attnlab.config.attention import AttentionConfig
from attnlab.config.combinations import kernels_for
from attnlab.objectives.attention import MASKED
from tests.attention.mechanisms import (
    DIM,
    Names,
    attention,
    combined,
    inputs,
    is_deterministic,
    is_recurrent,
    is_signed,
    pairwise,
    role_mask,
    roles,
)


def _cases() -> Iterator[tuple[Names, str]]:
    """Each combination in cross-attention, and in one or the other kind of self-attention."""
    for index, names in enumerate(pairwise()):
        usable = roles(combined(names))
        own = [role for role in usable if role != "cross"]
        yield names, "cross"
        if own:
            yield names, own[index % len(own)]


MIXED = ("mixed_logits", "mixed_weights")
Where = Callable[[AttentionConfig, str], bool]
ONE_OR_FEW = ("gumbel", "reinforce", "top_k")


def where(meant: Where) -> pytest.MarkDecorator:
    """Every combination of which a property is meant to hold."""
    cases = [(names, role) for names, role in _cases() if meant(combined(names), role)]
    named = [pytest.param(*case, id="-".join((*case[0], case[1]))) for case in cases]
    return pytest.mark.parametrize(("names", "role"), named)


every = where(lambda config, role: True)
COMPLETE = ("softmax", "sparsemax", "entmax", "learned_entmax", "top_k", "gumbel", "reinforce")


def _padding(*lengths: int, keys: int = 6) -> Tensor:
    return torch.arange(keys) < torch.tensor(lengths)[:, None]


@every
def test_map_makes_the_context(names: Names, role: str) -> None:
    """The map that is shown is the one that the fastest kernel used."""
    config = combined(names)
    mechanism, (query, key) = attention(config, role), inputs(role)
    mask = role_mask(role, keys=_padding(6, 4))
    value = key if role == "cross" else query
    context = mechanism(query, key, value, mask)
    weights = mechanism.weights(query, key, mask)
    cleaned = value.masked_fill(~mask.keys[:, :, None], 0)
    values = mechanism.heads.project_value(cleaned, mask.keys)
    values = values.repeat_interleave(weights.shape[1] // values.shape[1], dim=1)
    asked = query.masked_fill(~mask.keys[:, :, None], 0) if query is key else query
    expected = mechanism.heads.merge(weights @ values, asked)
    torch.testing.assert_close(context, expected, atol=1e-9, rtol=1e-6)


@every
def test_rows_of_the_map(names: Names, role: str) -> None:
    """Forbidden keys get nothing, rows are shares of one, logarithms are finite and agree."""
    config = combined(names)
    mechanism, (query, key) = attention(config, role), inputs(role)
    mask = role_mask(role, keys=_padding(5, 3))
    weights = mechanism.weights(query, key, mask)
    logs = mechanism.log_weights(query, key, mask)
    assert weights.shape == logs.shape == (2, mechanism.heads.count, query.shape[1], 6)
    assert (weights[0, :, :, 5:] == 0).all()
    assert (weights[1, :, :, 3:] == 0).all()
    assert logs.isfinite().all()
    assert (logs[0, :, :, 5:] < MASKED).all(), "losses leave out gold on forbidden keys"
    assert (logs[1, :, :, 3:] < MASKED).all()
    if is_deterministic(config):
        torch.testing.assert_close(logs.exp(), weights.clamp_min(0), atol=1e-9, rtol=1e-6)
    if not is_signed(config):
        assert (weights >= 0).all()
        total = weights.sum(-1)
        if config.normalizer.kind in COMPLETE and config.structure.form != "reweighted":
            seen = mask.allowed(torch.arange(query.shape[1]), 6).any(-1).expand_as(total)
            structured = config.structure.form == "pattern"
            expected = total.round() if structured else seen.to(total)
            torch.testing.assert_close(total, expected)
            assert (total.sum() > 0).item()
        elif config.normalizer.kind != "sigmoid":
            assert (total <= 1 + 1e-9).all()


@every
def test_nothing_to_look_at(names: Names, role: str) -> None:
    """An example without keys gives zero weights, finite contexts and finite gradients."""
    mechanism, (query, key) = attention(combined(names), role), inputs(role)
    query, key = _leaves(query, key)
    mask = role_mask(role, keys=_padding(6, 0))
    context = mechanism(query, key, key, mask)
    weights = mechanism.weights(query, key, mask)
    logs = mechanism.log_weights(query, key, mask)
    assert (weights[1] == 0).all()
    assert context.isfinite().all()
    (context.sum() + weights.sum() + logs.clamp_min(-50).sum()).backward()
    for leaf in (query, key, *mechanism.parameters()):
        assert leaf.grad is None or leaf.grad.isfinite().all()


@every
def test_padding_changes_nothing(names: Names, role: str) -> None:
    """NaN in the padding leaks neither into results nor into gradients."""
    mechanism, (query, key) = attention(combined(names), role), inputs(role)
    padded = torch.cat([key, torch.full_like(key[:, :2], float("nan"))], dim=1)
    valid = torch.arange(8).expand(2, 8) < 6
    padded.requires_grad_()
    padded_query = padded if role != "cross" else query
    expected = mechanism(query, key, key, role_mask(role))
    found = mechanism(padded_query, padded, padded, role_mask(role, keys=valid))
    rows = query.shape[1]
    torch.testing.assert_close(found[:, :rows], expected, atol=1e-9, rtol=1e-6)
    found[:, :rows].square().sum().backward()
    for leaf in (padded, *mechanism.parameters()):
        assert leaf.grad is None or leaf.grad.isfinite().all()


@every
def test_routes_agree(names: Names, role: str) -> None:
    """Every kernel that says it can gives the reference's contexts and gradients."""
    config = combined(names)
    mechanism, (query, key) = attention(config, role), inputs(role)
    kernels = [k for k in kernels_for(mechanism.config) if k not in ("reference", "flex")]
    if is_recurrent(config) or not kernels:
        kernels = ["reference"]  # query by query there is no other way; it must be stable
    for mask in _masks(role, len(query), query.shape[1]):
        if mechanism.config.structure.form == "landmarks" and (
            mask.rules or mask.custom is not None
        ):
            continue
        reference = _context_and_gradients(mechanism, "reference", query, key, mask)
        for kernel in [k for k in kernels if _can(mechanism, k, query, key, mask)]:
            found = _context_and_gradients(mechanism, kernel, query, key, mask)
            for one, other in zip(found, reference, strict=True):
                torch.testing.assert_close(one, other, atol=1e-8, rtol=1e-5)


def _masks(role: str, batch: int, queries: int) -> list[Mask]:
    torch.manual_seed(2)
    custom = torch.rand(batch, 1, queries, 6) > 0.4
    masks = [
        role_mask(role),
        role_mask(role, keys=_padding(6, 3)),
        role_mask(role, window=(1, 2)),
        role_mask(role, custom=custom),
    ]
    return [*masks, masks[1] & masks[2] & masks[3]]


def _can(mechanism: Attention, kernel: str, query: Tensor, key: Tensor, mask: Mask) -> bool:
    from attnlab.attention.kernels.choose import implementation

    call = mechanism.call(query, key, key, mask)
    return implementation(kernel).obstacle(call) is None


def _context_and_gradients(
    mechanism: Attention, kernel: str, query: Tensor, key: Tensor, mask: Mask
) -> list[Tensor]:
    query, key = _leaves(query, key)
    mechanism.kernels.forced = kernel
    mechanism.zero_grad()
    context = mechanism(query, key, key, mask)
    torch.manual_seed(3)
    (context * torch.randn_like(context)).sum().backward()
    leaves = [query, key, *mechanism.parameters()]
    return [context, *(leaf.grad for leaf in leaves if leaf.grad is not None)]


def _leaves(query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
    fresh = key.detach().clone().requires_grad_()
    return (fresh if query is key else query.detach().clone().requires_grad_()), fresh


@where(lambda config, role: role != "self")  # which sees the future, and a step has none
def test_steps_are_the_whole(names: Names, role: str) -> None:
    """Query by query with a state gives what all queries at once give, also after reordering."""
    mechanism, (query, key) = attention(combined(names), role), inputs(role)
    mask = role_mask(role, keys=_padding(6, 4))
    whole = mechanism(query, key, key, mask)
    order = torch.tensor([1, 0])
    if role == "cross":
        state = mechanism.start(key, key, mask)
        steps = [mechanism(query[:, :1], None, None, state=state)]
        state = state.select(order)
        for step in query[order].split(1, dim=1)[1:]:
            steps.append(mechanism(step, None, None, state=state)[order])
    else:
        state = mechanism.start(None, None)
        steps = []
        for index, step in enumerate(key.split(1, dim=1)):
            now = role_mask(role, keys=mask.keys[:, index : index + 1])
            steps.append(mechanism(step, step, step, now, state=state))
    real = mask.keys if role == "causal" else torch.ones(whole.shape[:2], dtype=torch.bool)
    torch.testing.assert_close(torch.cat(steps, 1)[real], whole[real], atol=1e-9, rtol=1e-6)


@where(lambda config, role: is_deterministic(config))  # drawn rows have no gradient to compare
def test_gradients_are_right(names: Names, role: str) -> None:
    """Analytic against numeric gradients in float64, of contexts and of log weights."""
    mechanism = attention(combined(names), role)
    query, key = inputs(role, queries=3, keys=4)
    query, key = _leaves(query, key)
    mask = role_mask(role, keys=_padding(4, 2, keys=4))
    own = query is key

    def run(query: Tensor, key: Tensor, *_: Tensor) -> tuple[Tensor, Tensor]:
        query = key if own else query
        logs = mechanism.log_weights(query, key, mask).clamp_min(-20)
        return mechanism(query, key, key, mask), logs

    parameters = [p for p in mechanism.parameters() if p.requires_grad]
    leaves = (query.detach() if own else query, key, *parameters)
    torch.autograd.gradcheck(run, leaves, fast_mode=True, atol=1e-4, rtol=1e-3, nondet_tol=1e-9)


@where(lambda config, role: role == "causal")
def test_no_look_ahead(names: Names, role: str) -> None:
    """With a causal mask and a window, the Jacobian is zero outside them."""
    mechanism, (key, _) = attention(combined(names), role), inputs(role, batch=1)
    mask = Mask(causal=True, window=(2, 0))

    def run(x: Tensor) -> Tensor:
        return mechanism(x, x, x, mask).sum(-1)[0]

    jacobian = torch.autograd.functional.jacobian(run, key)[:, 0].abs().sum(-1)  # query x key
    position = torch.arange(6)
    apart = position[:, None] - position
    assert jacobian[(apart < 0) | (apart > 2)].max() == 0


@every
def test_parts_of_a_map(names: Names, role: str) -> None:
    """Rows and heads asked for are those of the whole map."""
    mechanism, (query, key) = attention(combined(names), role), inputs(role)
    mask = role_mask(role, keys=_padding(6, 4), custom=torch.ones(2, 1, query.shape[1], 6) > 0)
    if mechanism.config.structure.form == "landmarks":
        mask = role_mask(role, keys=_padding(6, 4))
    whole = mechanism.weights(query, key, mask)
    rows = mechanism.weights(query, key, mask, rows=[2, 0], heads=-1)
    torch.testing.assert_close(rows, whole[:, -1:, [2, 0]], atol=1e-9, rtol=1e-6)
    logs = mechanism.log_weights(query, key, mask, rows=slice(1, 3), heads=[0])
    whole_logs = mechanism.log_weights(query, key, mask)
    torch.testing.assert_close(logs, whole_logs[:, :1, 1:3], atol=1e-9, rtol=1e-6)


def _knows_no_order(config: AttentionConfig, role: str) -> bool:
    by_place = config.score.kind in ("location", "spatial") or is_recurrent(config)
    placed = config.position.kind != "none" or config.structure.kind != "global" or by_place
    takes_the_first = config.score.kind == "uniform" and config.normalizer.kind in ONE_OR_FEW
    return role == "cross" and not placed and not takes_the_first


@where(_knows_no_order)
def test_order_does_not_matter_without_positions(names: Names, role: str) -> None:
    """Permuted keys permute the map; permuted queries permute the contexts."""
    mechanism, (query, key) = attention(combined(names), role), inputs(role)
    keys, queries = torch.randperm(6), torch.randperm(4)
    context = mechanism(query, key, key)
    torch.testing.assert_close(mechanism(query, key[:, keys], key[:, keys]), context)
    torch.testing.assert_close(mechanism(query[:, queries], key, key), context[:, queries])
    weights = mechanism.weights(query, key)
    torch.testing.assert_close(mechanism.weights(query, key[:, keys]), weights[..., keys])


def _heads_have_masks(config: AttentionConfig, role: str) -> bool:
    one = attention(config, role).heads.shape.maps == 1
    return not (one or config.structure.form == "landmarks" or config.heads.form in MIXED)


@where(_heads_have_masks)
def test_masks_of_single_heads(names: Names, role: str) -> None:
    """A custom mask may differ from map to map: each hides its own keys, and no other's."""
    mechanism, (query, key) = attention(combined(names), role), inputs(role)
    maps = mechanism.heads.shape.maps
    custom = torch.ones(2, maps, query.shape[1], 6, dtype=torch.bool)
    custom[:, 0, :, 2] = False
    weights = mechanism.weights(query, key, role_mask(role, custom=custom))
    others = mechanism.weights(query, key, role_mask(role))
    assert (weights[:, 0, :, 2] == 0).all()
    if not mechanism.recurrent:
        torch.testing.assert_close(weights[:, 1:], others[:, 1:])


def test_the_combinations_hold_every_kind() -> None:
    """Every choice of every part is in some combination: none is illegal with all others."""
    from attnlab.config.combinations import PARTS
    from tests.attention.mechanisms import choices

    for place, part in enumerate(PARTS):
        assert {names[place] for names in pairwise()} == set(choices(part))
    assert DIM % 8 == 0  # two maps for each of the four heads of differential attention
