"""`attnlab.watch` on modules of torch and of one's own."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.functional import scaled_dot_product_attention

import attnlab
from attnlab.attention import dot_product
from attnlab.attention.mask import Mask
from attnlab.attention.mechanism import Attention
from attnlab.errors import UserError
from tests.attention.mechanisms import named

CLOSE = {"atol": 1e-5, "rtol": 0.0}


class Plain(nn.Module):
    """A layer that calls the function, by a name of its own."""

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.settings = settings

    def forward(self, query: Tensor, key: Tensor, mask: Tensor | None = None) -> Tensor:
        return scaled_dot_product_attention(query, key, key, mask, **self.settings)


class Two(nn.Module):
    """Two layers, the second of which can fail."""

    def __init__(self, fails: bool = False) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Plain(), Plain()])
        self.fails = fails

    def forward(self, states: Tensor) -> Tensor:
        for layer in self.layers:
            states = layer(states, states)
            if self.fails:
                raise RuntimeError("in the middle")
        return states


class Holder(nn.Module):
    """One of our own attentions within a module."""

    def __init__(self, pool: Attention) -> None:
        super().__init__()
        self.pool = pool

    def forward(self, *inputs: Any) -> Tensor:
        return self.pool(*inputs)


def states(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def hooks(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


@pytest.mark.parametrize("shape", [(5, 4), (3, 5, 4), (2, 3, 5, 4), (2, 2, 3, 5, 4)])
@pytest.mark.parametrize("mask", ["none", "bool", "float", "causal"])
def test_a_plain_module(shape: tuple[int, ...], mask: str) -> None:
    module = Plain(is_causal=mask == "causal", scale=0.7)
    x = states(*shape)
    allowed = torch.ones(5, 5).tril(2).bool()
    bias = states(5, 5)
    given = {"bool": allowed, "float": bias}.get(mask)
    logits = x @ x.transpose(-1, -2) * 0.7
    if mask == "float":
        logits = logits + bias
    elif mask != "none":
        logits = logits.masked_fill(~(allowed if mask == "bool" else allowed.tril()), -torch.inf)
    with attnlab.watch(module, statistics=True) as seen:
        module(x, x, given)
    (maps,) = seen.maps.values()
    expected = logits.softmax(-1)
    assert torch.allclose(maps.reshape(expected.shape), expected, **CLOSE)
    (figures,) = seen.statistics.values()
    assert torch.allclose(figures.entropy, torch.special.entr(maps).sum(-1), **CLOSE)
    assert torch.allclose(figures.distance.sum(-1), (maps * _apart(5)).sum((-1, -2)), **CLOSE)
    with attnlab.watch(module, replace={"*": lambda weights, _: weights.flip(-1)}):
        changed = module(x, x, given)
    assert torch.allclose(changed, expected.flip(-1) @ x, **CLOSE)


def _apart(length: int) -> Tensor:
    positions = torch.arange(length)
    return (positions[:, None] - positions).abs()


def test_rows_without_an_allowed_key_are_zero_and_gradients_finite() -> None:
    module, x = Plain(), states(1, 2, 4, 4).requires_grad_()
    mask = torch.ones(4, 4).bool()
    mask[1] = False
    with attnlab.watch(module, statistics=True) as seen:
        module(x, x, mask)
        (maps,) = seen.maps.values()
        (site,) = seen.maps
        seen.loss(torch.eye(4), site).backward()
    assert (maps[:, :, 1] == 0).all()
    assert x.grad is not None and x.grad.isfinite().all()
    figures = seen.statistics[site]
    assert (figures.entropy[:, :, 1] == 0).all() and (figures.maximum[:, :, 1] == 0).all()
    # Row 1 counts as padding: its own key is masked.
    assert figures.received.sum() == pytest.approx(2 * 3)


@pytest.mark.parametrize("grouped", [False, True])
def test_grouped_heads(grouped: bool) -> None:
    module = Plain(enable_gqa=grouped)
    query, key = states(2, 4, 3, 8), states(2, 2 if grouped else 4, 6, 8)
    with attnlab.watch(module, heads=[1, 3], statistics=True) as seen:
        module(query, key)
    spread = key.repeat_interleave(2, 1) if grouped else key
    expected = (query @ spread.transpose(-1, -2) / 8**0.5).softmax(-1)[:, [1, 3]]
    (maps,) = seen.maps.values()
    assert torch.allclose(maps, expected, **CLOSE)
    (figures,) = seen.statistics.values()
    assert torch.allclose(figures.received, expected.sum(2), **CLOSE)
    assert list(seen.roles.values()) == ["cross"]


@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_multihead_attention(need_weights: bool, batch_first: bool, training: bool) -> None:
    module = nn.MultiheadAttention(16, 4, batch_first=batch_first).train(training)
    x, y = states(2, 5, 16), states(2, 7, 16) + 1
    padding = torch.zeros(2, 7).bool()
    padding[1, 4:] = True
    sides = (x, y, y) if batch_first else [side.transpose(0, 1) for side in (x, y, y)]
    settings = {"key_padding_mask": padding, "average_attn_weights": False}
    plain, expected = module(*sides, **settings)
    with attnlab.watch(module) as seen:
        output, weights = module(*sides, **settings, need_weights=need_weights)
    (maps,) = seen.maps.values()
    assert torch.allclose(maps, expected, **CLOSE)
    assert torch.allclose(output, plain, **CLOSE)
    assert weights is None or torch.allclose(weights, expected, **CLOSE)
    assert dict(seen.roles) == {"MultiheadAttention": "cross"}


def test_multihead_attention_without_a_batch() -> None:
    module, x = nn.MultiheadAttention(16, 4).eval(), states(5, 16)
    plain, expected = module(x, x, x)
    with attnlab.watch(module) as seen:
        output, weights = module(x, x, x)
    assert torch.allclose(weights, expected, **CLOSE) and torch.allclose(output, plain, **CLOSE)
    assert seen.maps["MultiheadAttention"].shape == (1, 4, 5, 5)
    assert seen.roles["MultiheadAttention"] == "self"


@pytest.mark.parametrize("nested", [False, True])
def test_transformer_encoder_on_its_fast_path(nested: bool) -> None:
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
    module = nn.TransformerEncoder(layer, 2, enable_nested_tensor=nested).eval()
    x = states(2, 6, 16)
    padding = torch.zeros(2, 6).bool()
    padding[1, 4:] = True
    with torch.no_grad():
        plain = module(x, src_key_padding_mask=padding)
        with attnlab.watch(module) as seen:
            output = module(x, src_key_padding_mask=padding)
        first = module.layers[0].self_attn
        _, expected = first(x, x, x, key_padding_mask=padding, average_attn_weights=False)
    assert list(seen.maps) == ["layers.0.self_attn", "layers.1.self_attn"]
    assert torch.allclose(seen.maps["layers.0.self_attn"], expected, **CLOSE)
    real = ~padding
    assert torch.allclose(output[real], plain[real], atol=1e-5)


def test_transformer_decoder_tells_self_from_cross() -> None:
    module = nn.TransformerDecoder(nn.TransformerDecoderLayer(16, 4, 32, batch_first=True), 1)
    with attnlab.watch(module) as seen:
        module(states(2, 5, 16), states(2, 5, 16) + 1)
    assert dict(seen.roles) == {"layers.0.self_attn": "self", "layers.0.multihead_attn": "cross"}


@pytest.mark.parametrize("name", ["multihead", "additive", "location"])
def test_own_attention_of_any_mechanism(name: str) -> None:
    sizes = {"query_dim": 16, "key_dim": 16, "value_dim": 16, "output_dim": 16}
    torch.manual_seed(0)
    pool = Attention(named(name), **sizes, site="decoder.cross.0")
    module = Holder(pool).eval()
    x, y = states(2, 5, 16), states(2, 7, 16)
    mask = Mask(keys=torch.arange(7) < torch.tensor([[7], [4]]))
    with torch.no_grad(), attnlab.watch(module, statistics=True) as seen:
        module(x, y, y, mask)
        expected = pool.weights(x, y, mask)
    assert torch.allclose(seen.maps["pool"], expected, **CLOSE)
    assert torch.allclose(seen.statistics["pool"].received, expected.sum(2), **CLOSE)
    assert seen.roles["pool"] == "cross"
    with torch.no_grad():
        before = module(x, y, y, mask)
        with attnlab.watch(module, replace={"pool": "uniform"}):
            changed = module(x, y, y, mask)
        assert not torch.allclose(before, changed)
        assert torch.equal(module(x, y, y, mask), before)


def test_sampled_rows_estimate_the_received_mass() -> None:
    module, x = Plain(is_causal=True), states(2, 4, 256, 8)
    with attnlab.watch(module, statistics=True) as exact:
        module(x, x)
    with attnlab.watch(module, rows=64, statistics=True, maps=False) as sampled:
        module(x, x)
    (whole,), (part,) = exact.statistics.values(), sampled.statistics.values()
    assert part.entropy.shape == (2, 4, 64)
    assert part.received.sum() == pytest.approx(whole.received.sum().item(), rel=1e-5)
    apart = (part.received - whole.received).abs().sum(-1) / whole.received.sum(-1)
    assert apart.mean() < 0.35
    (rows,) = sampled.rows.values()
    assert torch.equal(part.entropy, whole.entropy[:, :, rows]) or torch.allclose(
        part.entropy, whole.entropy[:, :, rows], **CLOSE
    )
    with pytest.raises(UserError, match="maps=True"):
        _ = sampled.maps


@pytest.mark.parametrize("rows", [None, 40])
@pytest.mark.parametrize("mask", ["causal", "padding"])
def test_statistics_of_many_tiles(
    rows: int | None, mask: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dot_product, "CPU_TILE", 2048)  # of one example, a third of its rows
    module, x = Plain(is_causal=mask == "causal"), states(3, 2, 50, 8)
    allowed = (torch.arange(50) < torch.tensor([[50], [37], [9]]))[:, None, None]
    given = allowed if mask == "padding" else None
    with attnlab.watch(module, rows=rows, statistics=True) as seen:
        module(x, x, given)
    (figures,), (maps,) = seen.statistics.values(), seen.maps.values()
    assert torch.allclose(figures.entropy, torch.special.entr(maps).sum(-1), **CLOSE)
    real = maps * allowed[..., 0, seen.rows["Plain"], None] if mask == "padding" else maps
    if rows is None:
        assert torch.allclose(figures.received, real.sum(2), **CLOSE)
    else:  # fifty rows, each of forty stands for one or two
        lengths = (torch.arange(41) * 50 // 40).diff()[:, None]
        assert torch.allclose(figures.received, (real * lengths).sum(2), **CLOSE)


def test_replaced_by_a_tensor_and_for_some_heads() -> None:
    module, x = Plain(), states(2, 4, 5, 8)
    gold = torch.eye(5).flip(0)
    with attnlab.watch(module, replace={"*": gold}):
        output = module(x, x)
    assert torch.allclose(output, gold @ x, **CLOSE)
    with attnlab.watch(module, replace={"*/heads=0,-1": gold}):
        some = module(x, x)
    plain = module(x, x)
    assert torch.allclose(some[:, [0, 3]], (gold @ x)[:, [0, 3]], **CLOSE)
    assert torch.allclose(some[:, 1:3], plain[:, 1:3], **CLOSE)


def test_nothing_is_left_behind() -> None:
    for fails in (False, True):
        module = Two(fails)
        try:
            with attnlab.watch(module) as seen:
                module(states(1, 2, 3, 4))
        except RuntimeError as error:
            assert str(error) == "in the middle"
        assert hooks(module) == 0
        assert torch.overrides._get_current_function_mode_stack() == []
        assert len(seen.maps) == (1 if fails else 2)


def test_a_forward_pass_that_failed_does_not_disturb_the_next() -> None:
    module = Two(fails=True)
    with attnlab.watch(module) as seen:
        with pytest.raises(RuntimeError, match="in the middle"):
            module(states(1, 2, 3, 4))
        module.fails = False
        module(states(1, 2, 3, 4))
    assert list(seen.maps) == ["layers.0", "layers.1"]


def test_the_last_forward_pass_is_held() -> None:
    module = Two()
    with attnlab.watch(module) as seen:
        for length in (3, 6):
            module(states(1, 2, length, 4))
    assert all(maps.shape == (1, 2, length, length) for maps in seen.maps.values())
    seen.clear()
    with pytest.raises(UserError, match="no attention of Two was seen"):
        _ = seen.maps


def test_one_module_called_twice_is_two_sites() -> None:
    layer = Plain()

    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(self.layer(x, x), x)

    model = Shared()
    with attnlab.watch(model) as seen:
        model(states(1, 2, 3, 4))
    assert list(seen.maps) == ["layer", "layer#1"]


def test_watches_can_be_nested() -> None:
    module, x = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True).eval(), states(2, 5, 16)
    with torch.no_grad(), attnlab.watch(module) as outer, attnlab.watch(module, heads=0) as inner:
        module(x)
    assert torch.allclose(outer.maps["self_attn"][:, :1], inner.maps["self_attn"], **CLOSE)
    with attnlab.watch(module) as seen, pytest.raises(UserError, match="open already"):
        seen.__enter__()


def test_threads_do_not_see_one_another() -> None:
    module, seen_by = Two(), {}

    def work(length: int) -> None:
        with attnlab.watch(module) as seen:
            for _ in range(20):
                module(states(1, 2, length, 4))
        seen_by[length] = {maps.shape[-1] for maps in seen.maps.values()}

    threads = [threading.Thread(target=work, args=(length,)) for length in (3, 5, 8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen_by == {3: {3}, 5: {5}, 8: {8}}
    assert hooks(module) == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers": [2]}, "no layer 2; the model has 2, allowed: 0 to 1"),
        ({"layers": "layer.0"}, "did you mean 'layers.0'"),
        ({"replace": {"layers.0": "unifrom"}}, "did you mean 'uniform'"),
        ({"replace": {"layers.0/head=x": "uniform"}}, "names no heads"),
    ],
)
def test_mistakes_are_answered_in_one_line(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        attnlab.watch(Two(), **settings)


def test_losses_name_their_mistakes() -> None:
    module = Two()
    with attnlab.watch(module) as seen:
        module(states(1, 2, 3, 4).requires_grad_())
    with pytest.raises(UserError, match="did you mean 'cross_entropy'"):
        seen.loss(torch.eye(3), "layers.0", "crossentropy")
    with pytest.raises(UserError, match="3 rows and 3 keys, and the target 4 and 4"):
        seen.loss(torch.eye(4), "layers.0")
    with pytest.raises(KeyError, match=r"did you mean 'layers\.0'"):
        _ = seen.maps["layer.0"]
    assert seen.loss(torch.eye(3), "layers.0", "mse").requires_grad
    with pytest.raises(UserError, match="loss 'distillation': temperature: Field required"):
        seen.loss(torch.eye(3), "layers.0", "distillation")
    tempered = seen.loss(torch.eye(3), "layers.0", "distillation", temperature=2.0)
    assert tempered.isfinite()


def test_pictures(tmp_path: Any) -> None:
    module = Two()
    with attnlab.watch(module) as seen:
        module(states(1, 2, 3, 4))
    shown = seen.show(queries=["a", "<b>", "c"])
    assert shown._repr_html_().count("<svg") == 2
    assert "&lt;b&gt;" in shown.html and "<b>b" not in shown.html
    assert shown.save(tmp_path / "map.html").read_text(encoding="utf-8").startswith("<!doctype")


def test_dropout_is_that_of_the_model_on_changed_maps() -> None:
    module, x = Plain(dropout_p=0.5), states(1, 2, 64, 4)
    with attnlab.watch(module, replace={"*": "uniform"}):
        assert not torch.allclose(module(x, x), x.mean(2, keepdim=True).expand_as(x), atol=1e-3)


def test_functional_calls_outside_the_model_are_not_seen() -> None:
    module, x = Two(), states(1, 2, 3, 4)
    with attnlab.watch(module) as seen:
        F.scaled_dot_product_attention(x, x, x)
        Plain()(x, x)
    with pytest.raises(UserError, match="was seen in this thread"):
        _ = seen.maps
