"""`attention/structure=predicted`: what is chosen is read, and nothing else."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import layer_norm

from attnlab.attention import block_predictors
from attnlab.attention.block_scores import NEVER, WAYS, dense_mass
from attnlab.attention.kernels.choose import implementation
from attnlab.attention.mask import Mask
from attnlab.attention.mechanism import Attention
from attnlab.attention.predicted import Predicted
from tests.attention.mechanisms import DIM, attention, combined

SETTINGS = {"kind": "predicted", "by": "learned", "block": 16, "density": 0.3, "mass": None}
SETTINGS |= {"sink": 1, "local": 1, "width": 4, "index_heads": 3}
SETTINGS |= {"dense_steps": 0, "selection": "detached"}
BYS = ("learned", "indexer", *WAYS)
LENGTH = 150


def predicted(**changes: Any) -> Attention:
    names = ("scaled_dot", "softmax", "predicted", "rope", "grouped_query")
    heads = {"kind": "grouped_query", "count": 4, "groups": 2}
    return attention(combined(names, structure=SETTINGS | changes, heads=heads), "self")


def states(length: int = LENGTH) -> Tensor:
    torch.manual_seed(1)
    return torch.randn(2, length, DIM, dtype=torch.float64)


@pytest.mark.parametrize("by", BYS)
@pytest.mark.parametrize("causal", [False, True])
def test_the_kernel_reads_the_chosen_blocks_as_the_masked_formula_does(
    by: str, causal: bool
) -> None:
    mechanism, x = predicted(by=by), states()
    mask = Mask(causal=causal, keys=torch.arange(LENGTH) < torch.tensor([150, 100])[:, None])
    call = mechanism.call(x, x, x, mask)
    assert call.kernel is implementation("sparse")
    found = []
    for kernel in ("sparse", "reference"):
        mechanism.kernels.forced = kernel
        leaf = x.clone().requires_grad_()
        context = mechanism(leaf, leaf, leaf, mask)
        context[0].square().sum().backward()
        found.append((context[0], leaf.grad))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("by", ["learned", "indexer"])
@pytest.mark.parametrize("causal", [False, True])
def test_maps_are_zero_outside_of_the_chosen_blocks(by: str, causal: bool) -> None:
    mechanism, x = predicted(by=by), states()
    mask = Mask(causal=causal)
    chosen = mechanism.call(x, x, None, mask).chosen
    assert chosen is not None
    pairs = chosen.repeat_interleave(16, 2).repeat_interleave(16, 3)[:, :, :LENGTH, :LENGTH]
    weights = mechanism.weights(x, x, mask)
    assert (weights[~pairs] == 0).all()
    torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]))
    assert chosen.diagonal(dim1=2, dim2=3).all()  # local
    assert chosen[..., 0].all()  # sink
    allowed = torch.arange(1, 11) if causal else torch.full((10,), 10)
    forced = torch.tensor([1, *[2] * 9])
    budget = torch.maximum((0.3 * allowed - 1e-6).ceil().long(), forced)
    assert torch.equal(chosen.sum(-1), budget.expand(2, 4, -1))
    rows = mechanism.weights(x, x, mask, rows=[149, 20], heads=[3])
    torch.testing.assert_close(rows, weights[:, 3:, [149, 20]])


@pytest.mark.parametrize("by", [by for by in BYS if by != "mass"])  # which sees all queries
@pytest.mark.parametrize("pieces", [[1] * 70, [37, 1, 12, 20]])
def test_steps_choose_what_the_whole_chooses(by: str, pieces: list[int]) -> None:
    mechanism, x = predicted(by=by), states(70)
    state, found = mechanism.start(None, None), []
    order = torch.tensor([1, 0])
    for number, piece in enumerate(x.split(pieces, 1)):
        if number == 3:
            state = state.select(order)
            state.reorder(order)
        found.append(mechanism(piece, piece, piece, Mask(causal=True), state=state))
    whole = mechanism(x, x, x, Mask(causal=True))
    torch.testing.assert_close(torch.cat(found, 1), whole)


@pytest.mark.parametrize("by", [by for by in BYS if by != "mass"])
def test_no_choice_depends_on_the_future(by: str) -> None:
    mechanism, x = predicted(by=by), states()
    other = x.clone()
    other[:, 70:] += torch.randn_like(other[:, 70:])
    ours, theirs = (mechanism(each, each, each, Mask(causal=True)) for each in (x, other))
    assert torch.equal(ours[:, :70], theirs[:, :70])


@pytest.mark.parametrize("pairs", [1, 1 << 20])
@pytest.mark.parametrize("causal", [False, True])
def test_the_indexer_takes_the_best_pair_of_positions(
    causal: bool, pairs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against plain loops; some positions are padding, and the pieces may be small."""
    monkeypatch.setattr(block_predictors, "PAIRS_AT_ONCE", pairs)
    mechanism, x = predicted(by="indexer"), states(40)
    mask = Mask(causal=causal, keys=torch.arange(40) < torch.tensor([40, 20])[:, None])
    indexer, call = mechanism.structure.predictor, mechanism.call(x, x, None, mask)
    assert isinstance(indexer, block_predictors.Indexer)
    sides = mechanism.structure.sides(call)  # type: ignore[operator]
    found = indexer.content(sides)
    double = indexer.double()

    def normal(blocks: Tensor, example: int, block: int, position: int) -> Tensor:
        features = blocks[example, :, block, position].flatten().double()
        return layer_norm(features, features.shape)

    for example, row, column in itertools.product(range(2), range(3), range(3)):
        if causal and column > row:  # which the mask closes, whatever the score
            continue
        best = torch.full((4,), NEVER, dtype=torch.float64)
        for t, s in itertools.product(range(16), range(16)):
            asks = sides.asking.expand(2, -1, -1)[example, row, t]
            if not asks or not sides.real.expand(2, -1, -1)[example, column, s]:
                continue
            features = normal(sides.query, example, row, t)
            query = double.query(features).view(3, 4)  # heads x width
            key = double.key(normal(sides.key, example, column, s))
            weight = double.weight(features).view(4, 3)  # maps x heads
            best = torch.maximum(best, weight @ (query @ key / 2).relu() / 3**0.5)
        torch.testing.assert_close(found[example, :, row, column].double(), best)


@pytest.mark.parametrize("by", ["learned", "indexer"])
def test_padding_changes_no_choice(by: str) -> None:
    mechanism, x = predicted(by=by), states(90)
    longer = torch.cat([x, torch.full_like(x, 7.0)], 1)
    real = (torch.arange(180) < 90).expand(2, -1)
    found = mechanism(longer, longer, longer, Mask(keys=real))[:, :90]
    torch.testing.assert_close(found, mechanism(x, x, x))


def test_fewer_blocks_where_they_hold_the_mass_that_is_asked_for() -> None:
    mechanism, x = predicted(density=1.0, mass=0.5, sink=0, local=0, by="mass"), states()
    call = mechanism.call(x, x)
    assert call.chosen is not None
    mass = dense_mass(call)
    held = (mass * call.chosen).sum(-1)
    least = torch.where(call.chosen, mass, 1.0).amin(-1)
    assert (held >= 0.5 - 1e-6).all()
    assert (held - least < 0.5).all(), "without the last block it would be less"


def test_the_mass_of_blocks_is_that_of_the_dense_map() -> None:
    mechanism, x = predicted(), states(64)
    keys = torch.arange(64) < torch.tensor([64, 40])[:, None]
    mask = Mask(keys=keys)
    dense = attention(
        combined(
            ("scaled_dot", "softmax", "global", "rope", "grouped_query"),
            heads={"kind": "grouped_query", "count": 4, "groups": 2},
        ),
        "self",
    )
    dense.load_state_dict(mechanism.state_dict(), strict=False)
    blocks = dense.weights(x, x, mask).unflatten(-1, (-1, 16)).sum(-1).unflatten(2, (-1, 16))
    there = keys.view(2, 1, 4, 16, 1)
    expected = (blocks * there).sum(3) / there.sum(3).clamp_min(1)
    call = mechanism.call(x, x, None, mask)
    torch.testing.assert_close(dense_mass(call).double(), expected, atol=1e-6, rtol=1e-5)
    most = (blocks * there).amax(3)
    torch.testing.assert_close(dense_mass(call, most=True).double(), most, atol=1e-6, rtol=1e-5)


def test_all_blocks_are_read_in_the_first_steps_of_training() -> None:
    mechanism, x = predicted(dense_steps=2), states()
    assert mechanism.call(x, x).chosen is None
    assert (mechanism.weights(x, x) > 0).all()
    mechanism.structure.trained_steps.fill_(2)
    assert (mechanism.weights(x, x) == 0).any()


def test_what_is_read_in_no_layer_has_no_gradient() -> None:
    """Two layers: states of which no chosen block leads to the last query."""
    layers = [predicted(density=0.2, sink=0), predicted(density=0.2, sink=0, by="random")]
    x = states().requires_grad_()
    now, reached = x, torch.eye(10).bool().expand(2, -1, -1)
    steps = []
    for layer in layers:
        steps.append(layer.call(now, now).chosen.any(1))  # type: ignore[union-attr]
        now = now + layer(now, now, now)
    reached = torch.zeros(2, 10, dtype=torch.bool).index_fill(1, torch.tensor(9), True)
    for chosen in reversed(steps):
        reached = reached | (chosen & reached[:, :, None]).any(1)
    now[:, -1].square().sum().backward()
    assert x.grad is not None
    received = torch.nn.functional.pad(x.grad.abs().sum(-1), (0, 10)).view(2, 10, 16).sum(-1)
    assert torch.equal(received > 0, reached)
    assert not reached.all()


def test_straight_through_the_predictor_has_the_gradient_of_a_bias_on_chosen_blocks() -> None:
    mechanism, x = predicted(density=0.3, selection="straight").train(), states()
    structure = mechanism.structure
    assert isinstance(structure, Predicted) and structure.predictor is not None
    plain = predicted(density=0.3).train()
    plain.load_state_dict(mechanism.state_dict())
    torch.testing.assert_close(mechanism(x, x, x), plain(x, x, x), atol=1e-5, rtol=1e-4)
    call = mechanism.call(x, x, x)
    log_shares, _ = structure.log_shares(call)
    block = torch.arange(LENGTH) // 16
    bias = log_shares[:, :, block[:, None], block[None]]  # of each pair, that of its blocks
    logits = plain.call(x, x).logits.detach() + bias - bias.detach()
    weights = logits.masked_fill(~call.allowed, -torch.inf).softmax(-1)  # type: ignore[operator]
    context = weights @ call.present_value.detach().repeat_interleave(2, 1)
    parameters = list(structure.predictor.parameters())
    expected = torch.autograd.grad(context.square().sum(), parameters)
    found = torch.autograd.grad(mechanism.attend(call).square().sum(), parameters)
    for one, other in zip(found, expected, strict=True):
        assert one.abs().sum() > 0
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)
    mechanism.eval()
    assert mechanism.call(x, x, x).position_bias is None
