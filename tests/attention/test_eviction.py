"""Caches with a budget: steps equal one pass in which each query sees the keys that were left."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from attnlab.attention.eviction import (
    Accumulated,
    Evicting,
    Expected,
    Observed,
    PredictedBlocks,
    Window,
    evicting,
    evicts,
)
from attnlab.attention.mask import Mask
from attnlab.attention.mechanism import Attention
from attnlab.attention.predicted import Predicted
from attnlab.attention.state import State
from attnlab.attention.taps import Tap
from tests.attention.mechanisms import DIM, combined

SHARED: dict[str, Any] = {"budget": 9, "every": 2, "sink": 1, "recent": 0.3}
EVICTIONS: dict[str, Evicting] = {
    "window": Window(**SHARED),
    "h2o": Accumulated(**SHARED),
    "snapkv": Observed(**SHARED, observed=4, pool=3),
    "expected": Expected(**SHARED, observed=6, ahead=5),
    "predicted": PredictedBlocks(**SHARED),
}
POSITIONS = ["none", "rope", "alibi", "shaw", "t5", "transformer_xl", "sinusoidal", "learned"]
HEADS = ["one", "multi", "multi_query", "grouped_query", "differential", "talking", "gated"]
LENGTH = 24


def made(position: str = "rope", heads: str = "multi", structure: str = "causal") -> Attention:
    torch.manual_seed(0)
    names = ("scaled_dot", "softmax", structure, position, heads)
    config = combined(names)
    if structure == "predicted":
        config = config.model_copy(
            update={"structure": config.structure.model_copy(update={"block": 16, "density": 1.0})}
        )
    widths = dict.fromkeys(("query_dim", "key_dim", "value_dim"), DIM)
    attention = Attention(config, **widths, output_dim=None, site="encoder.self.0").eval()
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return attention


def states(batch: int = 2) -> Tensor:
    return torch.randn(batch, LENGTH, DIM, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def in_steps(
    attention: Attention, eviction: Evicting | None, x: Tensor, pieces: list[int]
) -> tuple[Tensor, list[Tensor], State]:
    """Contexts step by step; the keys that each query saw: batch x maps x queries x keys; the
    state at the end."""
    with evicting([attention], eviction):
        state = attention.start(None, None, Mask(causal=True))
    maps, contexts, seen = attention.heads.shape.maps, [], []
    for piece in x.split(pieces, 1):
        before, queries = state.length, piece.shape[1]
        saw = torch.zeros(len(x), maps, queries, LENGTH, dtype=torch.bool)
        if state.kept is None:
            saw[..., :before] = True
        else:
            kept = state.kept.repeat_interleave(maps // state.kept.shape[1], 1)
            saw.scatter_(3, kept[:, :, None].expand(-1, -1, queries, -1), True)
        saw[..., before : before + queries] = torch.ones(queries, queries).tril().bool()
        contexts.append(attention(piece, piece, piece, Mask(causal=True), state=state))
        seen.append(saw)
        if eviction is not None:
            assert state.key is not None and state.key.shape[2] <= eviction.budget
        assert state.length == before + queries
    return torch.cat(contexts, 1), seen, state


PIECES = [11, 1, 1, 3, *[1] * 8]


@pytest.mark.parametrize(
    ("name", "position", "heads"),
    [
        *((name, "rope", "multi") for name in EVICTIONS),
        *(("h2o", position, "multi") for position in POSITIONS),
        *(("expected", position, "multi") for position in POSITIONS),
        *(("snapkv", "shaw", heads) for heads in HEADS[1:]),
        *(("h2o", "t5", heads) for heads in HEADS),
        *(("expected", "alibi", heads) for heads in HEADS),
    ],
)
def test_steps_are_the_pass_in_which_queries_see_what_was_left(
    name: str, position: str, heads: str
) -> None:
    structure = "predicted" if name == "predicted" else "causal"
    attention, x = made(position, heads, structure), states()
    contexts, seen, state = in_steps(attention, EVICTIONS[name], x, PIECES)
    mask = Mask(custom=torch.cat(seen, 2))
    assert not mask.custom[:, :, -1].all(), "something was evicted"  # type: ignore[index]
    torch.testing.assert_close(contexts, attention(x, x, x, mask), atol=1e-5, rtol=1e-4)
    assert state.kept is not None and state.kept.shape[2] in (8, 9)
    groups = {"one": 1, "multi_query": 1, "talking": 1}.get(heads, attention.heads.count)
    assert state.kept.shape[1] == (2 if heads == "grouped_query" else groups)
    assert (state.kept.diff(dim=-1) > 0).all(), "in the order of positions"
    always = torch.tensor([0, LENGTH - 3, LENGTH - 2, LENGTH - 1])  # the sink and the latest
    assert torch.equal(state.kept[..., [0, -3, -2, -1]], always.expand(2, state.kept.shape[1], 4))


@pytest.mark.parametrize("name", EVICTIONS)
@pytest.mark.parametrize("position", ["rope", "shaw"])
def test_a_budget_for_all_keys_changes_nothing(name: str, position: str) -> None:
    structure = "predicted" if name == "predicted" else "causal"
    attention, x = made(position, "multi", structure), states()
    settings = {**vars(EVICTIONS[name])}
    eviction = object.__new__(type(EVICTIONS[name]))
    vars(eviction).update(settings, budget=LENGTH)
    bounded, _, state = in_steps(attention, eviction, x, PIECES)
    assert torch.equal(bounded, in_steps(attention, None, x, PIECES)[0])
    assert state.kept is None and state.evicted == 0


def test_the_window_keeps_the_first_and_the_latest() -> None:
    eviction = Window(budget=5, every=1, sink=2, recent=0.0)
    _, seen, _ = in_steps(made(), eviction, states(), [1] * LENGTH)
    for query, saw in enumerate(seen):
        expected = {*range(min(2, query + 1)), *range(max(0, query - 3), query + 1)}
        assert saw[0, 0, 0].nonzero()[:, 0].tolist() == sorted(expected)


def test_h2o_evicts_the_key_with_the_least_weight_so_far() -> None:
    attention = made()
    eviction = Accumulated(budget=6, every=1, sink=0, recent=0.0)
    with evicting([attention], eviction):
        state = attention.start(None, None, Mask(causal=True))
    total = torch.zeros(2, 4, LENGTH)
    for step, piece in enumerate(states().split(1, 1)):
        kept = torch.arange(step).expand(2, 4, -1) if state.kept is None else state.kept
        with torch.no_grad(), Tap(attention, "encoder.self.0") as tap:
            attention(piece, piece, piece, Mask(causal=True), state=state)
        total[..., : step + 1] += tap.weights()[:, :, 0]
        if step >= 6:
            assert state.kept is not None
            there = torch.cat([kept, torch.full((2, 4, 1), step)], -1)
            for example, head in itertools.product(range(2), range(4)):
                old = there[example, head][:-1]  # the latest is always kept
                out = old[total[example, head, old].argmin()]
                expected = [i for i in there[example, head].tolist() if i != out]
                assert state.kept[example, head].tolist() == expected


def test_snapkv_keeps_what_the_end_of_the_prompt_looks_at() -> None:
    attention, x = made("none"), states(1)
    eviction = Observed(budget=8, every=1, sink=0, recent=0.0, observed=3, pool=1)
    _, _, state = in_steps(attention, eviction, x, [LENGTH])
    weights = attention.weights(x, x, Mask(causal=True), rows=slice(LENGTH - 3, LENGTH))
    received = weights.sum(2)[0]  # heads x keys
    received[:, -1] = torch.inf
    assert state.kept is not None
    assert torch.equal(state.kept[0], received.topk(8).indices.sort().values)


def test_expected_is_the_mean_weight_of_gaussian_queries() -> None:
    """Without positions: of the weights of many samples, before they are normalized."""
    attention, x = made("none"), states(1) * 0.4
    eviction = Expected(budget=8, every=1, sink=0, recent=0.0, observed=LENGTH, ahead=2)
    with evicting([attention], eviction):
        state = attention.start(None, None, Mask(causal=True))
    call, grown = attention.call_and_state(x, x, x, Mask(causal=True), state)
    assert grown is not None
    scores = eviction.scores(call, grown)[0]  # heads x keys
    heads = call.query_heads[0].double()  # heads x queries x width
    torch.manual_seed(0)
    for head, query in enumerate(heads):
        sampled = torch.distributions.MultivariateNormal(
            query.mean(0), query.T.cov(correction=0) + 1e-9 * torch.eye(query.shape[1])
        )
        drawn = sampled.sample((200_000,))
        weight = (drawn @ call.key[0, head].double().T * attention.score.scale).exp().mean(0)
        expected = weight / weight.sum() * call.present_value[0, head].norm(dim=-1)
        torch.testing.assert_close(scores[head].double(), expected, rtol=0.05, atol=1e-3)


def test_predicted_keeps_the_blocks_with_the_highest_share() -> None:
    attention = made("rope", "multi", "predicted")
    structure = attention.structure
    assert isinstance(structure, Predicted)
    x = torch.randn(1, 80, DIM, generator=torch.Generator().manual_seed(2))
    eviction = PredictedBlocks(budget=33, every=1, sink=0, recent=0.0)
    with evicting([attention], eviction):
        state = attention.start(None, None, Mask(causal=True))
    call, grown = attention.call_and_state(x, x, x, Mask(causal=True), state)
    assert grown is not None
    kept = eviction(call, grown).kept
    shares = structure.log_shares(call)[0][0, :, -1]  # maps x key blocks
    for head, best in enumerate(shares.topk(2).indices.tolist()):
        assert kept is not None
        blocks = (kept[0, head] // 16).bincount(minlength=5)
        assert (blocks[best] >= 16 - (79 // 16 not in best)).all()


def test_states_are_selected_and_reordered_with_what_they_keep() -> None:
    attention, x = made(), states(3)
    eviction, order = EVICTIONS["h2o"], torch.tensor([2, 0, 0])
    _, _, state = in_steps(attention, eviction, x, PIECES)
    picked = state.select(order)
    state.reorder(order)
    with torch.no_grad():
        outputs = [
            attention(x[order, :1], x[order, :1], x[order, :1], Mask(causal=True), state=each)
            for each in (picked, state)
        ]
    assert torch.equal(*outputs) and torch.equal(outputs[0][1], outputs[0][2])
    for each in (picked, state):
        assert each.kept is not None and torch.equal(each.kept[1], each.kept[2])


def test_padding_is_evicted_first() -> None:
    attention, x = made(), states()
    real = torch.ones(2, 11, dtype=torch.bool)
    real[1, 2:7] = False
    with evicting([attention], EVICTIONS["h2o"]):
        state = attention.start(None, None, Mask(causal=True))
    with torch.no_grad():
        attention(x[:, :11], x[:, :11], x[:, :11], Mask(causal=True, keys=real), state=state)
    assert state.kept is not None
    left = real[1][state.kept[1]]
    assert left.sum(-1).tolist() == [6] * 4, "all six real keys are left"


def test_maps_have_a_column_for_evicted_keys() -> None:
    attention, x = made(), states()
    with Tap(attention, "encoder.self.0") as tap:
        _, seen, _ = in_steps(attention, EVICTIONS["snapkv"], x, PIECES)
    weights = tap.weights()
    expected = attention.weights(x, x, Mask(custom=torch.cat(seen, 2)))
    torch.testing.assert_close(weights, expected, atol=1e-5, rtol=1e-4)
    logs = tap.log_weights().exp()
    torch.testing.assert_close(logs, expected, atol=1e-5, rtol=1e-4)
    some = attention.maps(tap.calls[-1], heads=[1, 3])
    torch.testing.assert_close(some[:, :, 0], weights[:, [1, 3], -1])


def test_evictions_are_there_while_they_are_open() -> None:
    attention = made()
    with evicting([attention], EVICTIONS["window"]):
        assert evicts(attention)
    assert not evicts(attention)
    assert attention.start(None, None).eviction is None
