"""A causal decoder: steps equal the whole pass, the past alone counts, prompts are continued."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from torch import Tensor

from attnlab.attention.taps import Tap, sites
from attnlab.config.schema import Config
from attnlab.data.vocabulary import BOS, SPECIAL, Vocabulary
from attnlab.errors import UserError
from attnlab.models.causal_decoder import CausalDecoder, rest_of
from attnlab.models.memory import Memory
from attnlab.tasks.generate.decoding import Beam, Greedy
from tests.models.building import small_config, with_mechanism

TRANSFORMER = ["model=transformer", "model.feedforward_dim=16"]
ONE_WAY = ["model=recurrent", "model.bidirectional=false"]
WITHIN = ["multihead", "rope", "alibi", "shaw", "window", "sparsemax", "linear", "off_by_one"]
MODELS = {
    **{name: [*TRANSFORMER, f"attention={name}"] for name in WITHIN},
    "normalised after": [*TRANSFORMER, "attention=multihead", "model.norm=after"],
    "tied": [*TRANSFORMER, "attention=multihead", "model.tie=output"],
    "learned positions": [*TRANSFORMER, "attention=rope", "model.embedding_positions=learned"],
    "lstm": [*ONE_WAY, "attention=additive"],
    "gru": [*ONE_WAY, "attention=multihead", "model.cell=gru", "model.encoder_layers=2"],
    "tied lstm": [*ONE_WAY, "attention=additive", "model.tie=output"],
}
VOCABULARY = Vocabulary([*SPECIAL, *"abcdefgh"])
UNITS = torch.tensor([[BOS, 5, 7, 4, 9, 6], [BOS, 8, 8, 5, 4, 11]])


def decoder(config: Config) -> CausalDecoder:
    torch.manual_seed(0)
    builder = cast("Any", config.model.build())
    return builder.causal_decoder(VOCABULARY, config.attention).eval()


def made(name: str) -> CausalDecoder:
    mechanism = next(each for each in MODELS[name] if each.startswith("attention="))
    others = [each for each in MODELS[name] if each != mechanism]
    return decoder(with_mechanism(mechanism.removeprefix("attention="), *others))


def prompts(*texts: list[int]) -> Memory:
    length = max(map(len, texts))
    units = torch.tensor([text + [0] * (length - len(text)) for text in texts], dtype=torch.long)
    return Memory(units.view(len(texts), length), units.view(len(texts), length) > 0)


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_steps_equal_the_whole(name: str) -> None:
    model = made(name)
    whole = model(UNITS)  # batch x length x vocabulary
    state = model.start(prompts([], []))
    steps = torch.stack([model.step(units, state) for units in UNITS.unbind(1)], 1)
    torch.testing.assert_close(steps, whole, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_scores_depend_on_the_past_alone(name: str) -> None:
    model = made(name)
    whole = model(UNITS)
    for position in range(1, UNITS.shape[1]):
        changed = UNITS.clone()
        changed[:, position] = 10
        torch.testing.assert_close(model(changed)[:, :position], whole[:, :position])
        assert not torch.allclose(model(changed)[:, position], whole[:, position])


@pytest.mark.parametrize("name", ["rope", "learned positions", "gru", "tied lstm"])
@torch.no_grad()
def test_prompts_of_any_length_are_continued_as_if_alone(name: str) -> None:
    model = made(name)
    texts = [[5, 7, 4, 9], [8], [6, 5]]
    together, memory, tap = 7, prompts(*texts), Tap(model, next(iter(sites(model))))
    for decoding in (Greedy(), Beam(size=3, answers=1, length_penalty=0, coverage_penalty=0)):
        answers = decoding(model, memory, together, tap).units[:, 0]
        for answer, text, rest in zip(answers, texts, rest_of(memory).tolist(), strict=True):
            assert answer[:rest].tolist() == text[len(text) - rest :]
            alone = decoding(model, prompts(text), together - rest, tap)
            expected = alone.units[0, 0]
            assert answer[rest:][: len(expected)].tolist() == expected.tolist()


@torch.no_grad()
def test_greedy_takes_the_likeliest_unit_of_the_whole_pass() -> None:
    model = made("rope")
    units = torch.tensor([[BOS, 5, 7]])
    tap = Tap(model, next(iter(sites(model))))
    answer = Greedy()(model, prompts([5, 7]), 4, tap).units[0, 0]
    for unit in answer.tolist():
        assert int(model(units)[0, -1].argmax()) == unit
        units = torch.cat([units, torch.tensor([[unit]])], 1)


@torch.no_grad()
def test_maps_are_causal() -> None:
    for name, site in (("multihead", "encoder.self.1"), ("lstm", "decoder.self.0")):
        model = made(name)
        assert site in sites(model)
        with Tap(model, site) as tap:
            model(UNITS)
        weights: Tensor = tap.weights()
        assert weights.shape[-2:] == (6, 6)
        assert not weights.triu(1).any()


@pytest.mark.parametrize(
    "overrides",
    [["model=recurrent"], ["model=recurrent", "model.encoder_layers=0"], ["model=convolutional"]],
)
def test_models_whose_states_see_later_units_are_refused(overrides: list[str]) -> None:
    with pytest.raises(UserError, match=r"try: model"):
        decoder(small_config(*overrides))
