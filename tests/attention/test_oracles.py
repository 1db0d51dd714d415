"""Each formula once more, written out pair by pair in float64 from the papers."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from attnlab.attention.mask import Mask
from attnlab.attention.mechanism import Attention
from attnlab.attention.parts import Past
from tests.attention.mechanisms import DIM, attention, choices, combined, inputs, named

Pair = Callable[[Attention, Tensor, Tensor], Tensor]


def _additive(mechanism: Attention, q: Tensor, k: Tensor) -> Tensor:
    s = mechanism.score
    hidden = torch.tanh(q @ s.query_weight[0] + k @ s.key_weight[0] + s.bias[0, 0])
    return hidden @ s.energy[0, :, 0]


def _trilinear(mechanism: Attention, q: Tensor, k: Tensor) -> Tensor:
    s = mechanism.score
    weight = torch.cat([s.query_weight[0], s.key_weight[0], s.product_weight[0]])[:, 0]
    return weight @ torch.cat([q, k, q * k])


PAIRS: dict[str, Pair] = {
    "dot": lambda m, q, k: q @ k,
    "scaled_dot": lambda m, q, k: q @ k / math.sqrt(DIM),
    "general": lambda m, q, k: q @ m.score.weight[0] @ k,
    "cosine": lambda m, q, k: m.score.temperature[0, 0, 0] * (q @ k) / (q.norm() * k.norm()),
    "l2": lambda m, q, k: -(q - k).square().sum() / math.sqrt(DIM),
    "linear": lambda m, q, k: (q @ m.score.query_weight[0] + k @ m.score.key_weight[0])[0],
    "trilinear": _trilinear,
    "additive": _additive,
    "concat": _additive,
    "elu": lambda m, q, k: (torch.nn.functional.elu(q) + 1) @ (torch.nn.functional.elu(k) + 1),
    "relu": lambda m, q, k: q.relu() @ k.relu(),
    "uniform": lambda m, q, k: torch.zeros((), dtype=torch.float64),
}
ELSEWHERE = {"location", "location_aware", "performer", "spatial"}  # not of pairs: tests below


@pytest.mark.parametrize("kind", sorted(PAIRS))
def test_score_of_each_pair(kind: str) -> None:
    normalizer = "proportion" if kind in ("elu", "relu") else "softmax"
    mechanism = attention(combined((kind, normalizer, "global", "none", "one")))
    query, key = inputs("cross")
    expected = torch.stack(
        [
            torch.stack([torch.stack([PAIRS[kind](mechanism, q, k) for k in ks]) for q in qs])
            for qs, ks in zip(query, key, strict=True)
        ]
    )
    call = mechanism.call(query, key)
    torch.testing.assert_close(call.logits[:, 0], expected)
    if normalizer == "softmax":
        expected = expected.softmax(-1)
    else:
        expected = expected / expected.sum(-1, keepdim=True)
    torch.testing.assert_close(mechanism.weights(query, key)[:, 0], expected)


def test_every_score_has_an_oracle() -> None:
    assert set(PAIRS) | ELSEWHERE == set(choices("score"))


def test_location_knows_places_alone() -> None:
    mechanism = attention(named("location"))
    query, key = inputs("cross")
    expected = (query @ mechanism.score.weight[0][:, :6]).softmax(-1)
    torch.testing.assert_close(mechanism.weights(query, key)[:, 0], expected)
    torch.testing.assert_close(mechanism.weights(query, key * 7)[:, 0], expected)


def test_location_aware_reads_the_last_map() -> None:
    mechanism = attention(named("location_aware"))
    query, key = inputs("cross")
    score, weights = mechanism.score, mechanism.weights(query, key)[:, 0]
    previous = torch.zeros(2, 6, dtype=torch.float64)
    for step in range(4):
        padded = torch.nn.functional.pad(previous, (7, 7))  # kernel of 15, centred
        windows = padded.unfold(1, 15, 1)  # batch x keys x 15
        features = windows @ score.filters.weight[:, 0].T @ score.location_weight[0]
        hidden = query[:, step, None] @ score.query_weight[0] + key @ score.key_weight[0]
        logits = torch.tanh(hidden + score.bias[0] + features) @ score.energy[0]
        previous = logits[..., 0].softmax(-1)
        torch.testing.assert_close(weights[:, step], previous)


def test_performer_is_softmax_on_average() -> None:
    mechanism = attention(combined(("performer", "proportion", "global", "none", "one")))
    mechanism.score.projection = torch.randn(60_000, DIM, dtype=torch.float64)
    query, key = (x / 2 for x in inputs("cross"))  # the variance grows with the length
    expected = (query @ key.mT / math.sqrt(DIM)).softmax(-1)
    torch.testing.assert_close(mechanism.weights(query, key)[:, 0], expected, atol=0.02, rtol=0.1)


def test_performer_draws_orthogonal_rows() -> None:
    mechanism = attention(named("performer"))
    block = mechanism.score.projection[: mechanism.score.shape.query_width]
    apart = block @ block.T
    torch.testing.assert_close(apart, torch.diag(apart.diag()), atol=1e-5, rtol=0)


def test_spatial_convolves_a_picture() -> None:
    mechanism = attention(combined(("spatial", "sigmoid", "global", "none", "one")))
    query, key = inputs("cross")
    picture = torch.stack([key.mean(-1), key.amax(-1)], dim=1).view(2, 2, 2, 3)
    found = mechanism.score.convolution(picture).flatten(1)  # grid of 2 x 3
    weights = mechanism.weights(query, key, Mask(grid=(2, 3)))
    expected = torch.sigmoid(found - math.log(6))[:, None].expand(-1, 4, -1)
    torch.testing.assert_close(weights[:, 0], expected)


ROW = torch.tensor([0.3, -1.2, 1.9, 0.4, 1.4], dtype=torch.float64)


def _tsallis(logits: Tensor, alpha: float) -> Tensor:
    """Bisection for the threshold of alpha-entmax: p = max(0, (a - 1) s - t)^(1 / (a - 1))."""
    scaled = logits * (alpha - 1)
    low, high = scaled.max() - 1, scaled.max()
    for _ in range(100):
        middle = (low + high) / 2
        total = (scaled - middle).clamp_min(0).pow(1 / (alpha - 1)).sum()
        low, high = (middle, high) if total > 1 else (low, middle)
    return (scaled - low).clamp_min(0).pow(1 / (alpha - 1))


def _top(logits: Tensor, keep: int) -> Tensor:
    kept = logits >= logits.sort().values[-keep]
    return torch.where(kept, logits.exp(), 0) / logits[kept].exp().sum()


ROWS: dict[str, tuple[dict[str, object], Callable[[Tensor], Tensor]]] = {
    "softmax": ({}, lambda s: s.exp() / s.exp().sum()),
    "off_by_one": ({}, lambda s: s.exp() / (1 + s.exp().sum())),
    "sink": ({"initial": 0.5}, lambda s: s.exp() / (math.exp(0.5) + s.exp().sum())),
    "sigmoid": ({}, lambda s: 1 / (1 + 5 * (-s).exp())),
    "proportion": ({}, lambda s: s.abs() / s.abs().sum()),
    "sparsemax": ({}, lambda s: _tsallis(s, 2.0)),
    "entmax": ({"alpha": 1.5}, lambda s: _tsallis(s, 1.5)),
    "learned_entmax": ({"initial": 1.3}, lambda s: _tsallis(s, 1.3)),
    "top_k": ({"keep": 2}, lambda s: _top(s, 2)),
    "gumbel": ({}, lambda s: (s == s.max()).double()),
    "reinforce": ({}, lambda s: (s == s.max()).double()),
}


@pytest.mark.parametrize("kind", sorted(ROWS))
def test_normalizer_of_a_row(kind: str) -> None:
    changes, expected = ROWS[kind]
    score = "elu" if kind == "proportion" else "dot"
    config = combined((score, kind, "global", "none", "one"))
    own = config.normalizer.model_copy(update=changes)
    torch.manual_seed(0)
    mechanism = Attention(
        config.model_copy(update={"normalizer": own}),
        **dict.fromkeys(("query_dim", "key_dim", "value_dim"), 4),
        output_dim=None,
        site="pooling",
    ).double()
    row = ROW.abs() if kind == "proportion" else ROW
    found = mechanism.normalizer.expected(row.view(1, 1, 1, 5), None)
    torch.testing.assert_close(found.view(5), expected(row), atol=1e-7, rtol=1e-6)
    allowed = torch.tensor([True, True, False, True, True]).view(1, 1, 1, 5)
    masked = mechanism.normalizer.expected(row.view(1, 1, 1, 5), allowed).view(5)
    shorter = mechanism.normalizer.expected(row[[0, 1, 3, 4]].view(1, 1, 1, 4), None).view(4)
    torch.testing.assert_close(masked[[0, 1, 3, 4]], shorter)
    assert masked[2] == 0


def test_every_normalizer_has_an_oracle() -> None:
    assert set(ROWS) | {"monotonic", "hard_kuma"} == set(choices("normalizer"))


def test_hard_kuma_gates_are_as_often_open_as_drawn() -> None:
    """Shut, open and mean gates by quantiles of the distribution, on an even grid of chances."""
    mechanism = attention(named("hard_kuma"))
    stretch = mechanism.normalizer.stretch
    logits = torch.tensor([-6.0, 0.0, 1.0, 8.0], dtype=torch.float64)
    a, b = torch.nn.functional.softplus(logits), torch.nn.functional.softplus(-logits)
    chance = (torch.arange(200_000, dtype=torch.float64) + 0.5)[:, None] / 200_000
    drawn = (1 - (1 - chance) ** (1 / b)) ** (1 / a)
    gates = (drawn * (1 + 2 * stretch) - stretch).clamp(0, 1)
    shut, wide_open = (gates == 0).double().mean(0), (gates == 1).double().mean(0)
    between = 1 - shut - wide_open
    expected = (drawn.mean(0) * (1 + 2 * stretch) - stretch).clamp(0, 1)
    expected = torch.where((wide_open > between) & (wide_open > shut), 1.0, expected)
    expected = torch.where((shut > between) & (shut > wide_open), 0.0, expected)
    row = logits.view(1, 1, 1, 4)
    found = mechanism.normalizer.expected(row, None).view(4)
    torch.testing.assert_close(found, expected / expected.sum(), atol=1e-3, rtol=1e-3)
    shares = (1 - shut) / (1 - shut).sum()
    torch.testing.assert_close(
        mechanism.normalizer.log(row, None).exp().view(4), shares, atol=1e-3, rtol=1e-3
    )


def test_monotonic_is_the_process_it_describes() -> None:
    """Enumerate: scan on from the last stop, stop at each key with its chance."""
    mechanism = attention(named("monotonic"))
    logits = torch.randn(3, 4, dtype=torch.float64)  # queries x keys
    chance = (logits + mechanism.normalizer.bias[0, 0]).sigmoid()
    at = torch.tensor([1.0, 0, 0, 0], dtype=torch.float64)
    zeros = torch.zeros(1, 1, 4, dtype=torch.float64)
    past = Past(zeros, zeros, 0)
    for query in range(3):
        stopped = torch.zeros(4, dtype=torch.float64)
        for start in range(4):
            left = at[start]
            for key in range(start, 4):
                stopped[key] += left * chance[query, key]
                left = left * (1 - chance[query, key])
        found = mechanism.normalizer.step(logits[query].view(1, 1, 1, 4), None, past)
        torch.testing.assert_close(found.view(4), stopped)
        past, at = past.after(found[:, :, 0]), stopped


ALLOWED: dict[str, tuple[dict[str, int], Callable[[int, int], bool]]] = {
    "global": ({}, lambda i, j: True),
    "causal": ({}, lambda i, j: j <= i),
    "window": ({"left": 2, "right": 1}, lambda i, j: -2 <= j - i <= 1),
    "dilated": ({"reach": 2, "step": 3}, lambda i, j: abs(i - j) in (0, 3, 6)),
    "strided": ({"stride": 3}, lambda i, j: abs(i - j) < 3 or abs(i - j) % 3 == 0),
    "block": ({"size": 3, "neighbours": 1}, lambda i, j: abs(i // 3 - j // 3) <= 1),
}


@pytest.mark.parametrize("kind", sorted(ALLOWED))
def test_structure_of_each_pair(kind: str) -> None:
    changes, rule = ALLOWED[kind]
    config = combined(("dot", "softmax", kind, "none", "one"))
    own = config.structure.model_copy(update=changes)
    mechanism = attention(config.model_copy(update={"structure": own}), "self")
    x, _ = inputs("self", keys=12)
    seen = mechanism.weights(x, x)[0, 0] > 0
    assert seen.tolist() == [[rule(i, j) for j in range(12)] for i in range(12)]


def test_bigbird_sees_near_first_and_linked_blocks() -> None:
    config = combined(("dot", "softmax", "bigbird", "none", "one"))
    own = config.structure.model_copy(update={"block": 2, "window": 1})
    mechanism = attention(config.model_copy(update={"structure": own}), "self")
    x, _ = inputs("self", keys=40)
    seen = mechanism.weights(x, x)[0, 0] > 0
    block = torch.arange(40) // 2
    near = (block[:, None] - block).abs() <= 1
    first = (block[:, None] == 0) | (block == 0)
    assert seen[near | first].all()
    assert (seen == seen.T).all()
    linked = (seen & ~near & ~first)[::2, ::2]  # one position a block
    picks = linked.tril().sum(1)  # each block picks one before it, others may pick it
    assert 5 < int(picks.sum()) <= 20
    assert (picks <= 1).all()
    longer, _ = inputs("self", keys=60)
    again = mechanism.weights(longer, longer)[0, 0, :40, :40] > 0
    assert (again == seen).all()  # links do not depend on the length


def test_local_p_is_a_gaussian_round_a_predicted_place() -> None:
    mechanism = attention(named("local"))
    query, key = inputs("cross")
    structure = mechanism.structure
    hidden = torch.tanh(query @ structure.hidden[0]) @ structure.center[0]
    place = 6 * hidden.sigmoid()  # batch x queries x 1
    soft = (query @ mechanism.score.weight[0] @ key.mT).softmax(-1)
    gauss = torch.exp(-((torch.arange(6) - place) ** 2) / (2 * (structure.width / 2) ** 2))
    torch.testing.assert_close(mechanism.weights(query, key)[:, 0], soft * gauss)


def test_coverage_adds_the_sum_of_past_maps() -> None:
    mechanism = attention(named("coverage"))
    query, key = inputs("cross")
    call = mechanism.call(query, key)
    weights = mechanism.weights(query, key)[:, 0]
    total = torch.zeros(2, 6, dtype=torch.float64)
    for step in range(4):
        logits = call.logits[:, 0, step] + mechanism.structure.weight[0, 0] * total
        torch.testing.assert_close(weights[:, step], logits.softmax(-1))
        total = total + logits.softmax(-1)


def test_hierarchical_is_a_product_of_two_levels() -> None:
    mechanism = attention(named("hierarchical"))
    query, key = inputs("cross", queries=1)
    segments = torch.tensor([[0, 0, 1, 1, 1, 2]]).expand(2, -1)
    weights = mechanism.weights(query, key, Mask(segments=segments))[:, 0, 0]
    call = mechanism.call(query, key)
    score, upper = mechanism.score, query @ mechanism.structure.upper[0]
    for example in range(2):
        within, pooled = [], []
        for segment in range(3):
            here = segments[example] == segment
            within.append(call.logits[example, 0, 0, here].softmax(-1))
            pooled.append(within[-1] @ key[example, here])
        hidden = upper[example] @ score.query_weight[0] + torch.stack(pooled) @ score.key_weight[0]
        over = (torch.tanh(hidden + score.bias[0]) @ score.energy[0])[:, 0].softmax(-1)
        expected = torch.cat([share * w for share, w in zip(over, within, strict=True)])
        torch.testing.assert_close(weights[example], expected)


def test_nystrom_with_enough_landmarks_is_softmax() -> None:
    mechanism = attention(combined(("scaled_dot", "softmax", "nystrom", "none", "one")), "self")
    x, _ = inputs("self")
    expected = (x @ x.mT / math.sqrt(DIM)).softmax(-1)
    torch.testing.assert_close(mechanism.weights(x, x)[:, 0], expected, atol=1e-3, rtol=1e-2)


def test_every_structure_has_an_oracle() -> None:
    others = {"bigbird", "local_p", "coverage", "hierarchical", "nystrom"}
    others |= {"predicted"}  # test_predicted.py
    assert set(ALLOWED) | others == set(choices("structure"))
