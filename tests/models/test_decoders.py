"""Writing step by step says the same as all steps at once, for every decoder and mechanism."""

from __future__ import annotations

import pytest
import torch

from attnlab.config.schema import Config
from attnlab.errors import ConfigError
from attnlab.tasks.generate.head import shifted
from tests.models.building import built, mechanisms, small_config, texts, with_mechanism

DECODERS = {
    "recurrent": ["model=recurrent"],
    "previous_state": ["model=recurrent", "model.query=previous_state"],
    "transformer": ["model=transformer", "model.feedforward_dim=16", "model.encoder_layers=1"],
}
LENGTH = ["task.max_length=8"]
# Mechanisms that go query by query, or see all keys at once, cannot serve within a decoder.
WITHIN = ["multihead", "rope", "alibi", "shaw", "window", "sparsemax", "linear", "off_by_one"]


def assert_steps_equal(config: Config) -> None:
    model, batch, _ = built(config, texts([3, 5], [6, 4]))
    torch.manual_seed(1)  # some mechanisms draw random features
    units = shifted(batch.answer.values)
    with torch.no_grad():
        memory = model.memory(model.reader(batch), units.shape[1])
        together = model.decoder(units, memory)  # batch x length x vocabulary
        state = model.decoder.start(memory)
        steps = torch.stack([model.decoder.step(u, state) for u in units.unbind(1)], 1)
    torch.testing.assert_close(steps, together, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("mechanism", mechanisms())
@pytest.mark.parametrize("decoder", DECODERS)
def test_steps_equal_teacher_forcing(decoder: str, mechanism: str) -> None:
    """A mechanism without meaning between two sequences is refused by the config."""
    own = ["+attention@model.self_attention=multihead"] if decoder == "transformer" else []
    try:
        config = with_mechanism(mechanism, *LENGTH, *DECODERS[decoder], *own)
    except ConfigError as error:
        assert "has no meaning in a model without self-attention" in str(error)
    else:
        assert_steps_equal(config)


@pytest.mark.parametrize("mechanism", WITHIN)
def test_steps_equal_within_a_transformer(mechanism: str) -> None:
    assert_steps_equal(with_mechanism(mechanism, *LENGTH, *DECODERS["transformer"]))


def test_steps_equal_where_states_are_normalised_after_each_block() -> None:
    after = ["model.norm=after", "attention=multihead"]
    assert_steps_equal(small_config(*LENGTH, *DECODERS["transformer"], *after))


@pytest.mark.parametrize("decoder", DECODERS)
def test_steps_equal_with_a_predicted_map(decoder: str) -> None:
    own = ["attention=multihead"] if decoder == "transformer" else []
    config = small_config(*LENGTH, *DECODERS[decoder], *own, "model.prediction=${attention}")
    assert_steps_equal(config)


@pytest.mark.parametrize("decoder", DECODERS)
def test_prediction_does_not_depend_on_how_many_places_are_asked_for(decoder: str) -> None:
    """So that training (places of the answer) and writing (as many as may be) see the same."""
    config = small_config(*LENGTH, *DECODERS[decoder], "model.prediction=${attention}")
    model, batch, _ = built(config, texts([3, 5], [6, 4]))
    units = shifted(batch.answer.values)
    with torch.no_grad():
        few = model.decoder(units, model.memory(model.reader(batch), units.shape[1]))
        many = model.decoder(units, model.memory(model.reader(batch), 8))
    torch.testing.assert_close(few, many, atol=1e-5, rtol=1e-4)
