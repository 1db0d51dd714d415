"""Which parameters are trained, what is added to them, and that merging changes no answer."""

from __future__ import annotations

from pathlib import Path

import peft
import pytest
import torch
from torch import nn

from attnlab.data.example import Example
from attnlab.errors import UserError
from attnlab.models.tuning import LoraLinear, body, merge, trained_parameters, untuned_names
from attnlab.training.optimizers import parameter_groups
from tests.models import pretrained
from tests.models.building import built, small_config, texts
from tests.models.test_hf import classifier, writer

TRANSFORMER = ("task=generate", "model=transformer", "attention=multihead")


def transformer(tuning: str, *more: str) -> tuple[nn.Module, object]:
    config = small_config(*TRANSFORMER, f"model/tuning={tuning}", *more)
    return built(config, texts([3, 2], [4, 6]))[:2]


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


@pytest.mark.parametrize("tuning", ["head", "bitfit", "lora"])
def test_the_head_is_trained_whole(folders: dict[str, Path], tuning: str) -> None:
    model, _, _ = classifier(folders["bert"], f"model/tuning={tuning}")
    inside = {p for part in body(model) for p in part.parameters()}
    assert all(p.requires_grad for p in model.parameters() if p not in inside)
    assert any(p.requires_grad for p in inside) is (tuning != "head")


def test_what_has_no_head_is_not_tuned_by_its_head() -> None:
    with pytest.raises(UserError, match=r"^model\.tuning: 'head' leaves nothing to train"):
        transformer("head")


def test_lora_needs_layers_that_it_knows() -> None:
    config = small_config("task=generate", "model=recurrent", "model/tuning=lora")
    with pytest.raises(UserError, match=r"^model\.tuning: 'lora' finds no attention"):
        built(config, texts([3, 2], [4, 6]))


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
