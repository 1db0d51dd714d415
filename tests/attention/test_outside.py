"""Other people's implementations, with copied weights."""

from __future__ import annotations

import os

import pytest
import torch
from torch import Tensor, nn

from attnlab.attention.mask import Mask
from attnlab.attention.mechanism import Attention
from tests.attention.mechanisms import named

DIM, HEADS = 24, 4


def _attention(name: str, dim: int = DIM, **heads: object) -> Attention:
    config = named(name)
    config = config.model_copy(update={"heads": config.heads.model_copy(update=heads)})
    dims = dict.fromkeys(("query_dim", "key_dim", "value_dim"), dim)
    return Attention(config, **dims, output_dim=None, site="encoder.self.0")


def _torch_twin(mechanism: Attention) -> nn.MultiheadAttention:
    twin = nn.MultiheadAttention(DIM, HEADS, batch_first=True)
    heads = mechanism.heads
    with torch.no_grad():
        weights = [heads.query.weight, heads.key.weight, heads.value.weight]
        twin.in_proj_weight.copy_(torch.cat(weights))
        twin.in_proj_bias.copy_(torch.cat([heads.query.bias, heads.key.bias, heads.value.bias]))
        twin.out_proj.weight.copy_(heads.output.weight)
        twin.out_proj.bias.copy_(heads.output.bias)
    return twin


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("kernel", ["reference", "sdpa"])
def test_torch_multihead_attention(causal: bool, padded: bool, kernel: str) -> None:
    torch.manual_seed(0)
    mechanism = _attention("multihead")
    mechanism.kernels.forced = kernel
    nn.init.normal_(mechanism.heads.query.bias)
    twin = _torch_twin(mechanism)
    x = torch.randn(3, 7, DIM)
    keys = torch.arange(7) < torch.tensor([7, 5, 2])[:, None] if padded else None
    forbidden = torch.ones(7, 7, dtype=torch.bool).triu(1) if causal else None
    drop = None if keys is None else ~keys
    # torch zeroes nothing in the padding: give it the same zeros
    clean = x if keys is None else x * keys[..., None]
    expected, weights = twin(
        clean, clean, clean, key_padding_mask=drop, attn_mask=forbidden, average_attn_weights=False
    )
    mask = Mask(keys=keys, causal=causal)
    torch.testing.assert_close(mechanism(x, x, x, mask), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(mechanism.weights(x, x, mask), weights, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", ["multi_query", "grouped_query"])
def test_shared_keys_are_multihead_with_repeated_weights(name: str) -> None:
    torch.manual_seed(0)
    shared, own = _attention(name), _attention("multihead")
    repeat = HEADS // shared.heads.groups
    with torch.no_grad():
        for one, other in (
            (own.heads.key, shared.heads.key),
            (own.heads.value, shared.heads.value),
        ):
            rows = other.weight.unflatten(0, (shared.heads.groups, -1))
            one.weight.copy_(rows.repeat_interleave(repeat, 0).flatten(0, 1))
        own.heads.query.load_state_dict(shared.heads.query.state_dict())
        own.heads.output.load_state_dict(shared.heads.output.state_dict())
    x = torch.randn(2, 5, DIM)
    torch.testing.assert_close(shared(x, x, x), own(x, x, x))


def test_as_many_groups_as_heads_is_multihead() -> None:
    grouped = _attention("grouped_query", groups=HEADS)
    own = _attention("multihead")
    own.load_state_dict(grouped.state_dict())
    x = torch.randn(2, 5, DIM)
    torch.testing.assert_close(grouped(x, x, x), own(x, x, x))


def test_keras_additive_attention() -> None:
    os.environ.setdefault("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras")
    if keras.backend.backend() != "torch":
        pytest.skip("keras was started with another backend")
    torch.manual_seed(0)
    mechanism = _attention("additive", dim=8)
    score = mechanism.score
    with torch.no_grad():  # Keras has no projections of its own: w.tanh(q + k)
        score.query_weight.copy_(torch.eye(8)[None])
        score.key_weight.copy_(torch.eye(8)[None])
    layer = keras.layers.AdditiveAttention()
    query, key, value = torch.randn(2, 3, 8), torch.randn(2, 5, 8), torch.randn(2, 5, 8)
    keys = torch.tensor([[True] * 5, [True, True, True, False, False]])
    layer.build([query.shape, value.shape, key.shape])
    layer.set_weights([score.energy.detach().flatten().numpy()])
    context, weights = layer([query, value, key], mask=[None, keys], return_attention_scores=True)
    mask = Mask(keys=keys)
    torch.testing.assert_close(mechanism(query, key, value, mask), _cpu(context))
    torch.testing.assert_close(mechanism.weights(query, key, mask)[:, 0], _cpu(weights))


def _cpu(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu()
