"""Which parameters are trained, what is added to them, and that merging changes no answer."""

from __future__ import annotations

from pathlib import Path

import peft
import pytest
import torch
from torch import nn

from attnlab.attention.mask import Mask
from attnlab.attention.probes import Probe
from attnlab.attention.taps import Tap
from attnlab.data.batch import Batch
from attnlab.data.codec import Codec
from attnlab.data.example import Example
from attnlab.errors import UserError
from attnlab.models.transfer import start_from
from attnlab.models.tuned_layers import AdapterLinear, LoraLinear, Prefix
from attnlab.models.tuning import body, lasting_names, merge, trained_parameters, untuned_names
from attnlab.training.optimizers import parameter_groups
from tests.attention.mechanisms import attention, inputs, named
from tests.models import pretrained
from tests.models.building import built, small_config, texts
from tests.models.test_hf import classifier, writer

TRANSFORMER = ("task=generate", "model=transformer", "attention=multihead")


def transformer(tuning: str, *more: str) -> tuple[nn.Module, object]:
    config = small_config(*TRANSFORMER, f"model/tuning={tuning}", *more)
    return built(config, texts([3, 2], [4, 6]))[:2]


def with_codec(tuning: str) -> tuple[nn.Module, Batch, Codec]:
    return built(small_config(*TRANSFORMER, f"model/tuning={tuning}"), texts([3, 2], [4, 6]))


def trained(model: nn.Module) -> list[str]:
    return [name for name, parameter in model.named_parameters() if parameter.requires_grad]


def moved(model: nn.Module) -> nn.Module:
    """The same, with every trained number changed."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("backbones")
    return {"bert": pretrained.bert(place / "bert"), "t5": pretrained.t5(place / "t5")}


def test_layers_leaves_out_embedders_alone() -> None:
    model, _ = transformer("layers", "model.tie=none")
    left_out = {n for n, p in model.named_parameters() if not p.requires_grad}
    assert left_out == {n for n, _ in model.named_parameters() if n.startswith("reader.embedders.")}


def test_bitfit_trains_biases() -> None:
    model, _ = transformer("bitfit")
    assert trained(model)
    assert all("bias" in name for name in trained(model))


@pytest.mark.parametrize("tuning", ["head", "bitfit", "lora", "adapters", "prefix", "prompt"])
def test_the_head_is_trained_whole(folders: dict[str, Path], tuning: str) -> None:
    model, _, _ = classifier(folders["bert"], f"model/tuning={tuning}")
    inside = {p for part in body(model) for p in part.parameters()}
    assert all(p.requires_grad for p in model.parameters() if p not in inside)
    assert any(p.requires_grad for p in inside) is (tuning != "head")


def test_what_has_no_head_is_not_tuned_by_its_head() -> None:
    with pytest.raises(UserError, match=r"^model\.tuning: 'head' leaves nothing to train"):
        transformer("head")


@pytest.mark.parametrize(
    ("tuning", "said"), [("lora", "no attention with"), ("adapters", "no feed-forward block")]
)
def test_what_is_tuned_has_to_be_there(tuning: str, said: str) -> None:
    config = small_config("task=generate", "model=recurrent", f"model/tuning={tuning}")
    with pytest.raises(UserError, match=rf"^model\.tuning: '{tuning}' finds {said}"):
        built(config, texts([3, 2], [4, 6]))


def test_a_prefix_needs_queries_that_do_not_wait_for_one_another() -> None:
    config = small_config("task=classify", "model=recurrent", "model/tuning=prefix")
    with pytest.raises(UserError, match=r"^model\.tuning: 'prefix' finds no attention"):
        built(config, [Example(str(i), {"text": ["a"]}, label) for i, label in enumerate("xy")])


def test_lora_starts_with_the_untuned_answers_and_merges_into_its_own() -> None:
    whole, batch = transformer("full")
    tuned, _ = transformer("lora")
    torch.testing.assert_close(tuned(batch), whole(batch))
    assert {*untuned_names(tuned).values()} == {*whole.state_dict()}
    assert 0 < trained_parameters(tuned) < trained_parameters(whole) / 2
    before = moved(tuned)(batch)
    assert not torch.allclose(before, whole(batch), atol=1e-3)
    merge(tuned)
    torch.testing.assert_close(tuned(batch), before)
    assert {*tuned.state_dict()} == {*whole.state_dict()}
    assert not any(isinstance(module, LoraLinear) for module in tuned.modules())


STAYING = {"adapters": AdapterLinear, "prefix": Prefix}


@pytest.mark.parametrize("tuning", STAYING)
def test_adapters_and_prefixes_start_with_the_untuned_answers_and_stay(tuning: str) -> None:
    whole, batch = transformer("full")
    tuned, _ = transformer(tuning)
    torch.testing.assert_close(tuned(batch), whole(batch))
    added = {*tuned.state_dict()} - {*whole.state_dict()}
    assert added and added <= {*trained(tuned)}
    assert lasting_names(tuned) == added and not lasting_names(whole)
    assert 0 < trained_parameters(tuned) < trained_parameters(whole) / 2
    before = moved(tuned)(batch)
    assert not torch.allclose(before, whole(batch), atol=1e-3)
    merge(tuned)
    assert torch.equal(tuned(batch), before)
    again, _ = transformer(tuning)
    again.load_state_dict(tuned.state_dict())
    torch.testing.assert_close(again(batch), before)
    assert any(isinstance(module, STAYING[tuning]) for module in tuned.modules())


def test_an_adapter_is_the_formula() -> None:
    layer, inputs = nn.Linear(6, 5), torch.randn(2, 6)
    adapted = moved(AdapterLinear.of(layer, 3))
    output = inputs @ layer.weight.T + layer.bias
    inner = (output @ layer.adapter_down.T + layer.adapter_down_bias).relu()
    expected = output + inner @ layer.adapter_up.T + layer.adapter_up_bias
    torch.testing.assert_close(adapted(inputs), expected)


@pytest.mark.parametrize("name", ["multihead", "grouped_query", "differential", "additive"])
def test_a_prefix_leaves_the_map_to_the_input_and_adds_what_its_keys_hold(name: str) -> None:
    torch.manual_seed(0)
    mechanism = attention(named(name))
    query, key = inputs("cross")
    before, map_before = mechanism(query, key, key), mechanism.weights(query, key)
    mechanism.prefix = Prefix(mechanism, 3).double()
    assert torch.equal(mechanism(query, key, key), before)
    prefix = moved(mechanism.prefix)
    assert torch.equal(mechanism.weights(query, key), map_before)
    call = mechanism.call(query, key, key)
    heads, maps = mechanism.heads.count, call.query_heads.shape[1]
    for head in range(heads):
        own = call.query_heads[:, head * maps // heads : (head + 1) * maps // heads]
        joined = torch.cat([*own.unbind(1)], -1)  # batch x queries x width
        share = (joined @ prefix.keys[head].T).softmax(-1)
        expected = prefix.gate[head].tanh() * (share @ prefix.values[head])
        torch.testing.assert_close(prefix(call.query_heads)[:, head], expected)
    with_prefix = mechanism.heads.merge(
        mechanism.attend(call) - prefix(call.query_heads), call.query_input
    )
    torch.testing.assert_close(with_prefix, before)
    assert not torch.allclose(mechanism(query, key, key), before)


@pytest.mark.parametrize("tuning", STAYING)
@pytest.mark.parametrize("family", ["bert", "t5"])
def test_a_pretrained_model_is_tuned_by_ours(
    folders: dict[str, Path], family: str, tuning: str
) -> None:
    make = classifier if family == "bert" else writer
    whole, batch, _ = make(folders[family])
    tuned, _, _ = make(folders[family], f"model/tuning={tuning}")
    torch.testing.assert_close(tuned(batch), whole(batch), atol=1e-4, rtol=1e-3)
    sites_with = sum(isinstance(module, STAYING[tuning]) for module in tuned.modules())
    layers = {"bert": {"adapters": 2, "prefix": 2}, "t5": {"adapters": 4, "prefix": 6}}
    assert sites_with == layers[family][tuning]
    before = moved(tuned).eval()(batch)
    assert not torch.allclose(before, whole(batch), atol=0.05)
    loss = before.float().square().sum()
    loss.backward()
    assert all(p.grad is not None for n, p in tuned.named_parameters() if n in lasting_names(tuned))


@pytest.mark.parametrize("tuning", STAYING)
def test_what_stays_is_taken_by_another_model_or_missed(tuning: str) -> None:
    tuned, batch, codec = with_codec(tuning)
    moved(tuned)
    other, _, _ = with_codec(tuning)
    taken = start_from(other, tuned, (codec, codec), whole=True)
    assert torch.equal(other(batch), tuned(batch)) and not taken.new
    plain, _, _ = with_codec("full")
    with pytest.raises(UserError, match=r"which its model\.tuning added .* same model/tuning="):
        start_from(plain, tuned, (codec, codec), whole=True)
    fresh, _, _ = with_codec(tuning)
    taken = start_from(fresh, plain, (codec, codec), whole=True)
    assert not taken.new and torch.allclose(fresh(batch), plain(batch))


@pytest.mark.parametrize("family", ["ours", "bert", "t5"])
def test_a_prompt_is_read_first_and_seen_by_no_map(folders: dict[str, Path], family: str) -> None:
    words = ("model/tuning=prompt", "model.tuning.length=3")
    if family == "ours":
        model, batch, _ = built(small_config(*TRANSFORMER, *words), texts([3, 2], [4, 6]))
    else:
        model, batch, _ = (classifier if family == "bert" else writer)(folders[family], *words)
    encoder = model.reader.encoder  # type: ignore[union-attr]
    assert encoder.prompt.shape[0] == 3
    assert {"reader.encoder.prompt"} == lasting_names(model) <= {*trained(model)}
    length = batch.inputs["text"].mask.shape[1]
    with Tap(model, "encoder.self.0") as tap, Probe(model, ["encoder.self.1"]) as probe:
        first = model(batch)
    weights = tap.weights()
    assert weights.shape[-2:] == (length, length) == probe.maps()["encoder.self.1"].shape[-2:]
    real = batch.inputs["text"].mask
    assert torch.allclose(
        weights.sum(-1)[real[:, None].expand(weights.shape[:3])], torch.tensor(1.0)
    )
    assert not weights[~real[:, None, None].expand_as(weights)].any()
    assert model.reader(batch).memory.values.shape[1] == length  # type: ignore[operator]
    with torch.no_grad():
        encoder.prompt.add_(torch.randn_like(encoder.prompt))
    assert not torch.allclose(model(batch), first, atol=1e-4)
    model(batch).float().square().sum().backward()
    assert encoder.prompt.grad.abs().sum() > 0


def test_maps_behind_a_prompt_are_those_of_its_states() -> None:
    """A mechanism over the states that it has there, without the prompt."""
    mechanism = attention(named("multihead"), "self")
    states, mask = inputs("self")[0], torch.ones(2, 6, dtype=torch.bool)
    mask[1, 4:] = False
    whole = torch.cat([torch.randn(2, 3, states.shape[-1]).double(), states], 1)
    padded = torch.cat([torch.ones(2, 3, dtype=torch.bool), mask], 1)
    mechanism.prompt = 3
    with Tap(mechanism, mechanism.site) as tap:
        mechanism(whole, whole, whole, Mask(keys=padded))
    expected = mechanism.weights(states, states, Mask(keys=mask))
    torch.testing.assert_close(tap.weights(), expected)


def test_a_prompt_needs_an_encoder_that_attends() -> None:
    for words in (["model=recurrent"], ["model=transformer", "model.packed=true"]):
        config = small_config("task=generate", "attention=multihead", "model/tuning=prompt", *words)
        with pytest.raises(UserError, match=r"^model\.tuning: 'prompt' stands before one text"):
            built(config, texts([3, 2], [4, 6]))


def test_our_lora_is_pefts() -> None:
    ours, theirs = nn.Linear(6, 5), nn.Sequential(nn.Linear(6, 5))
    theirs[0].load_state_dict(ours.state_dict())
    settings = peft.LoraConfig(r=2, lora_alpha=3, target_modules=["0"])
    peft.inject_adapter_in_model(settings, theirs)
    layer = LoraLinear.of(ours, 2, 3 / 2, 0.0)
    state = theirs.state_dict()
    with torch.no_grad():
        layer.up.normal_()
        state["0.lora_A.default.weight"].copy_(layer.down)
        state["0.lora_B.default.weight"].copy_(layer.up)
    inputs = torch.randn(3, 6)
    torch.testing.assert_close(ours(inputs), theirs(inputs))


@pytest.mark.parametrize("family", ["bert", "t5"])
def test_lora_of_a_pretrained_model_merges(folders: dict[str, Path], family: str) -> None:
    make = classifier if family == "bert" else writer
    whole, batch, _ = make(folders[family])
    tuned, _, _ = make(folders[family], "model/tuning=lora")
    torch.testing.assert_close(tuned(batch), whole(batch), atol=1e-4, rtol=1e-3)
    assert {*untuned_names(tuned).values()} == {*whole.state_dict()}
    before = moved(tuned).eval()(batch)
    assert not torch.allclose(before, whole(batch), atol=0.1)
    merge(tuned)
    torch.testing.assert_close(tuned(batch), before, atol=1e-3, rtol=1e-3)
    assert {*tuned.state_dict()} == {*whole.state_dict()}


def test_what_was_trained_before_may_learn_more_slowly_than_the_head() -> None:
    config = small_config("task=classify", "model=recurrent", "model.lr_factor=0.1")
    examples = [Example(str(i), {"text": ["a", "b"]}, label) for i, label in enumerate("xy")]
    model, _, _ = built(config, examples)
    rates = {
        id(p): group["lr"] for group in parameter_groups(model, 1.0, 0.0) for p in group["params"]
    }
    for name, parameter in model.named_parameters():
        assert rates[id(parameter)] == (0.1 if name.startswith("reader.") else 1.0)
