"""Positions against their formulas, pair by pair."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from attnlab.attention.mechanism import Attention
from attnlab.attention.positions import Rope
from tests.attention.mechanisms import DIM, attention, choices, combined, inputs

SCALE = 1 / math.sqrt(DIM)
ORACLES = {
    "none",
    "sinusoidal",
    "learned",
    "shaw",
    "t5",
    "alibi",
    "rope",
    "transformer_xl",
    "cosine",
}


def _mechanism(position: str, **changes: object) -> Attention:
    score, normalizer = (
        ("relu", "proportion") if position == "cosine" else ("scaled_dot", "softmax")
    )
    config = combined((score, normalizer, "global", position, "one"))
    own = config.position.model_copy(update=changes)
    return attention(config.model_copy(update={"position": own}), "self")


def _logits(mechanism: Attention, x: Tensor) -> Tensor:
    call = mechanism.call(x, x)
    return call.logits[:, 0]


def test_every_position_has_an_oracle() -> None:
    assert set(choices("position")) == ORACLES


def test_none_adds_nothing() -> None:
    x, _ = inputs("self")
    torch.testing.assert_close(_logits(_mechanism("none"), x), x @ x.mT * SCALE)


def test_sinusoidal() -> None:
    x, _ = inputs("self")
    marks = torch.zeros(6, DIM, dtype=torch.float64)
    for place in range(6):
        for index in range(DIM // 2):
            angle = place / 10000 ** (index / (DIM // 2))
            marks[place, index] = math.sin(angle)
            marks[place, index + DIM // 2] = math.cos(angle)
    expected = (x + marks) @ (x + marks).mT * SCALE
    torch.testing.assert_close(_logits(_mechanism("sinusoidal"), x), expected, atol=1e-5, rtol=1e-5)


def test_learned() -> None:
    mechanism = _mechanism("learned")
    x, _ = inputs("self")
    table = mechanism.position
    query, key = x + table.query.weight[:6], x + table.key.weight[:6]
    torch.testing.assert_close(_logits(mechanism, x), query @ key.mT * SCALE)


def test_shaw() -> None:
    mechanism = _mechanism("shaw", reach=2)
    x, _ = inputs("self")
    expected = x @ x.mT * SCALE
    for i in range(6):
        for j in range(6):
            row = mechanism.position.table[max(-2, min(2, j - i)) + 2]
            expected[:, i, j] += x[:, i] @ row * SCALE
    torch.testing.assert_close(_logits(mechanism, x), expected)


def test_alibi() -> None:
    x, _ = inputs("self")
    apart = (torch.arange(6)[:, None] - torch.arange(6)).abs()
    expected = x @ x.mT * SCALE - 2.0**-8 * apart  # one head: its slope is 2^-8
    torch.testing.assert_close(_logits(_mechanism("alibi"), x), expected)


def test_alibi_slopes_of_many_heads() -> None:
    config = combined(("scaled_dot", "softmax", "global", "alibi", "multi"))
    eight = config.heads.model_copy(update={"count": 8})
    mechanism = attention(config.model_copy(update={"heads": eight}), "self")
    torch.testing.assert_close(mechanism.position.slopes, 2.0 ** -torch.arange(1.0, 9).double())


def test_t5_buckets() -> None:
    """8 buckets up to distance 16: 4 on each side, of which 2 are exact and 2 logarithmic."""
    mechanism = _mechanism("t5", buckets=8, reach=16)
    x, _ = inputs("self", keys=20)
    bias = _logits(mechanism, x)[0] - x[0] @ x[0].T * SCALE
    table = mechanism.position.table[0]
    side = {0: 0, 1: 1, 2: 2, 3: 2, 4: 2, 5: 2, 6: 3, 12: 3, 16: 3, 19: 3}
    for apart, bucket in side.items():
        torch.testing.assert_close(bias[19, 19 - apart], table[bucket])
        if apart:
            torch.testing.assert_close(bias[0, apart], table[bucket + 4])


def test_rope_turns_by_complex_numbers() -> None:
    x, _ = inputs("self")
    half = DIM // 2
    frequency = 10000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
    turn = torch.exp(1j * torch.arange(6)[:, None] * frequency)
    turned = torch.complex(x[..., :half], x[..., half:]) * turn
    expected = (turned @ turned.conj().mT).real * SCALE
    torch.testing.assert_close(_logits(_mechanism("rope"), x), expected, atol=1e-5, rtol=1e-5)


def test_transformer_xl() -> None:
    mechanism = _mechanism("transformer_xl")
    position, (x, _) = mechanism.position, inputs("self")
    expected = torch.empty(2, 6, 6, dtype=torch.float64)
    for i in range(6):
        for j in range(6):
            angle = (i - j) / 10000 ** (torch.arange(DIM // 2) / (DIM // 2))
            relative = torch.cat([angle.sin(), angle.cos()]).double() @ position.weight[0]
            content = ((x[:, i] + position.content_bias[0, 0]) * x[:, j]).sum(-1)
            place = (x[:, i] + position.position_bias[0, 0]) @ relative
            expected[:, i, j] = (content + place) * SCALE
    torch.testing.assert_close(_logits(mechanism, x), expected, atol=1e-5, rtol=1e-5)


def test_cosformer() -> None:
    mechanism = _mechanism("cosine")
    x, _ = inputs("self")
    apart = torch.arange(6)[:, None] - torch.arange(6)
    weight = torch.cos(math.pi / 2 * apart.double() / mechanism.position.shape.max_length)
    torch.testing.assert_close(_logits(mechanism, x), (x.relu() @ x.relu().mT) * weight)


@pytest.mark.parametrize("position", ["shaw", "t5", "alibi", "rope", "transformer_xl", "cosine"])
def test_relative_positions_are_left_out_of_cross_attention(position: str) -> None:
    score = ("relu", "proportion") if position == "cosine" else ("scaled_dot", "softmax")
    with_position = combined((*score, "global", position, "one"))
    without = combined((*score, "global", "none", "one"))
    query, key = inputs("cross")
    found = attention(with_position).weights(query, key)
    torch.testing.assert_close(found, attention(without).weights(query, key))


@pytest.mark.parametrize(("trained", "factor"), [(2048, 4.0), (128, 2.0), (64, 16.0), (32, 1.0)])
@pytest.mark.parametrize("width", [16, 64])
@pytest.mark.parametrize("scaling", ["linear", "ntk", "yarn"])
def test_frequencies_fall_as_transformers_has_them(
    scaling: str, width: int, trained: int, factor: float
) -> None:
    utils = pytest.importorskip("transformers.modeling_rope_utils")
    llama = pytest.importorskip("transformers").LlamaConfig
    config = llama(hidden_size=4 * width, num_attention_heads=4, max_position_embeddings=trained)
    known = {"rope_theta": 500.0, "factor": factor, "original_max_position_embeddings": trained}
    length = None
    if scaling == "ntk":  # theirs grows with the text: as far as the text is longer
        known, length = known | {"factor": 1.0}, int(factor * trained)
    name = {"ntk": "dynamic"}.get(scaling, scaling)
    config.rope_parameters = known | {"rope_type": name}
    expected, stretch = utils.ROPE_INIT_FUNCTIONS[name](config, torch.device("cpu"), length)
    settings = {"base": 500.0, "scaling": scaling, "factor": factor, "trained_length": trained}
    rope = _mechanism("rope", **settings).position
    assert isinstance(rope, Rope)
    torch.testing.assert_close(rope.frequencies(width // 2, torch.device("cpu")), expected)
    assert rope.stretch == pytest.approx(stretch)
    turned = rope.transform_key(torch.ones(1, 1, 3, width), torch.arange(3))
    angle = torch.arange(3)[:, None] * expected
    own = (angle.cos() - angle.sin()) * stretch
    torch.testing.assert_close(turned[0, 0, :, : width // 2], own)


@pytest.mark.parametrize("position", ["shaw", "t5", "alibi", "rope", "transformer_xl"])
def test_only_distance_counts(position: str) -> None:
    """Two equal halves of a long input, far from its ends, have equal maps."""
    mechanism = _mechanism(position, **({"reach": 3} if position == "shaw" else {}))
    x, _ = inputs("self", keys=12)
    x[:, 6:] = x[:, :6]
    logits = _logits(mechanism, x)
    torch.testing.assert_close(logits[:, :6, :6], logits[:, 6:, 6:], atol=1e-4, rtol=1e-4)
