"""States of a causal model depend on the past alone, whatever the model and its inputs."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from attnlab.data.batch import Batch, Padded, collate
from attnlab.data.example import Example
from attnlab.errors import ConfigError
from tests.models.building import SIZE, built, small_config

EVERY_PLACE = ["task=rank", "task.learn=every_position", "objective=unsupervised"]
TRANSFORMER = ["model=transformer", "model.feedforward_dim=16"]
ONE_WAY = ["model=recurrent", "model.bidirectional=false"]
MODELS = {
    "multihead": [*TRANSFORMER, "attention=multihead"],
    "rope": [*TRANSFORMER, "attention=rope"],
    "linear": [*TRANSFORMER, "attention=linear"],
    "window": [*TRANSFORMER, "attention=window"],
    "packed": [*TRANSFORMER, "attention=multihead", "model.packed=true"],
    "normalised after": [*TRANSFORMER, "attention=multihead", "model.norm=after"],
    "lstm": [*ONE_WAY, "attention=additive"],
    "gru": [*ONE_WAY, "attention=multihead", "model.cell=gru", "model.encoder_layers=2"],
    "bag": ["model=recurrent", "attention=additive", "model.encoder_layers=0"],
    "feature map": ["model=convolutional", "attention=additive"],
}
INPUTS = {
    "items": {},
    "items, text": {"text": ["which", "one", "?"]},
    "text, items": {"a text": ["which", "one", "?"]},
    "items, image": {"image": torch.rand(1, SIZE, SIZE).numpy()},
}
LENGTHS = (5, 3, 4)
ITEMS = ["a", "b", "c", "d", "e", "f"]


def histories(inputs: str) -> list[Example]:
    """Histories of different lengths, beside other inputs that sort before or after them."""
    others = INPUTS[inputs]
    examples = []
    for number, length in enumerate(LENGTHS):
        every = {"items": ITEMS[:length], **others}
        every = dict(sorted(every.items())) if "a text" in others else every
        examples.append(Example(str(number), every, ITEMS[length], attended="items"))
    return examples


def with_other_item(batch: Batch, position: int) -> Batch:
    """The batch with another item at one position of every history."""
    items, mask = batch.inputs["items"]
    others = items.clone()
    others[:, position] = torch.where(items[:, position] == items[0, 0], items[0, 1], items[0, 0])
    return replace(batch, inputs={**batch.inputs, "items": Padded(others, mask)})


def in_training(model: nn.Module) -> nn.Module:
    """The model in training, where it answers at every position; statistics of batches stay."""
    model.train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    return model


@pytest.mark.parametrize("inputs", INPUTS)
@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_no_state_depends_on_later_items(name: str, inputs: str) -> None:
    model, batch, _ = built(small_config(*EVERY_PLACE, *MODELS[name]), histories(inputs))
    states = model.reader(batch).memory.values  # batch x length x dim
    scores = in_training(model)(batch)  # batch x length x items
    for position in range(1, LENGTHS[0]):
        changed = with_other_item(batch, position)
        others = model.eval().reader(changed).memory.values
        torch.testing.assert_close(others[:, :position], states[:, :position])
        assert not torch.allclose(others[0, position], states[0, position])
        torch.testing.assert_close(in_training(model)(changed)[:, :position], scores[:, :position])


@pytest.mark.parametrize("inputs", INPUTS)
@pytest.mark.parametrize("name", ["multihead", "lstm", "bag"])
@torch.no_grad()
def test_each_position_answers_as_the_last_of_a_shorter_history(name: str, inputs: str) -> None:
    config, examples = small_config(*EVERY_PLACE, *MODELS[name]), histories(inputs)
    model, batch, codec = built(config, examples)
    scores = in_training(model)(batch)
    model.eval()
    for length in range(1, LENGTHS[0] + 1):
        shorter = [
            replace(each, inputs={**each.inputs, "items": each.inputs["items"][:length]})  # type: ignore[index]
            for each in examples
        ]
        alone = model(collate([codec.encode(each, i) for i, each in enumerate(shorter)]))[:, 0]
        real = batch.inputs["items"].mask[:, length - 1]
        torch.testing.assert_close(scores[:, length - 1][real], alone[real])


def test_items_see_the_other_inputs() -> None:
    config = small_config(*EVERY_PLACE, *MODELS["multihead"])
    model, batch, _ = built(config, histories("items, text"))
    text = batch.inputs["text"]
    changed = replace(
        batch, inputs={**batch.inputs, "text": Padded(text.values.flip(1), text.mask)}
    )
    states, others = (model.reader(each).memory.values for each in (batch, changed))
    assert (states[:, 0] - others[:, 0]).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        (["model=recurrent"], "model.bidirectional"),
        (["model=hf", "model.name=any"], "model.kind"),
        (["model=convolutional", "model.encoder_layers=2"], "model.encoder_layers"),
        ([*TRANSFORMER, "attention=multihead", "model.kernel=3"], "model.kernel"),
        ([*TRANSFORMER, "attention=multihead", "model.co_attention=1"], "model.co_attention"),
        ([*TRANSFORMER, "attention=nystrom"], "attention.structure"),
    ],
)
def test_what_cannot_be_causal_is_refused(overrides: list[str], key: str) -> None:
    with pytest.raises(ConfigError, match=key.replace(".", r"\.")):
        small_config(*EVERY_PLACE, *overrides)
