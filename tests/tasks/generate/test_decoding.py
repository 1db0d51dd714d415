"""Every way of decoding against what all possible answers, scored at once, say is right."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor

from attnlab.attention.taps import Tap
from attnlab.data.batch import Batch
from attnlab.data.vocabulary import EOS, PAD
from attnlab.errors import ConfigError
from attnlab.tasks.generate import Beam as BeamConfig
from attnlab.tasks.generate import Sample as SampleConfig
from attnlab.tasks.generate.decoding import Beam, Decoded, Decoding, Greedy, Sample
from attnlab.tasks.generate.head import Generator, shifted
from tests.models.building import built, small_config, texts

DECODERS = {
    "recurrent": ["model=recurrent"],
    "lstm": ["model=recurrent", "model.cell=lstm", "model.decoder_layers=2"],
    "previous_state": ["model=recurrent", "model.query=previous_state", "attention=coverage"],
    "transformer": ["model=transformer", "model.feedforward_dim=16", "attention=multihead"],
}
LONGEST = 3
MAP = "decoder.cross.-1"


def model_and_batch(decoder: str, longest: int = LONGEST) -> tuple[Generator, Batch]:
    config = small_config(f"task.max_length={longest}", *DECODERS[decoder])
    model, batch, _ = built(config, texts([3, 2, 3], [6, 4, 5]))
    assert isinstance(model, Generator)
    for parameter in model.parameters():  # so that some answers are much likelier than others
        parameter.data *= 3
    return model, batch


def beam(size: int = 4, answers: int = 1, length: float = 0.0, coverage: float = 0.0) -> Beam:
    return Beam(size=size, answers=answers, length_penalty=length, coverage_penalty=coverage)


def sample(answers: int = 1, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0):
    return Sample(answers=answers, temperature=temperature, top_k=top_k, top_p=top_p, seed=0)


def decoded(model: Generator, batch: Batch, decoding: Decoding | None = None) -> Decoded:
    """Answers by a way of decoding, greedy unless another is given."""
    return model.decode(batch, decoding or Greedy(), Tap(model, MAP))


@torch.no_grad()
def looked_up(model: Generator, batch: Batch, units: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Log probability, length and coverage of answers batch x length, all steps at once."""
    memory = model.memory(model.reader(batch), units.shape[1])
    with Tap(model, MAP) as tap:
        chances = model.decoder(shifted(units), memory).log_softmax(-1)
    ended = (units == EOS).cumsum(1) - (units == EOS).long() > 0  # after the end mark
    chosen = chances.gather(2, units[..., None])[..., 0].masked_fill(ended, 0.0)
    maps = tap.weights().mean(1).masked_fill(ended[..., None], 0.0)  # batch x queries x keys
    return chosen.sum(1), (~ended).sum(1), maps.sum(1)


def final(model: Generator, batch: Batch, units: Tensor, search: Beam) -> Tensor:
    chance, length, looked = looked_up(model, batch, units)
    found = chance / ((5 + length) / 6) ** search.length_penalty
    covered = looked.clamp(1e-6, 1.0).log() * batch.inputs["text"].mask
    return found + search.coverage_penalty * covered.sum(1)


def all_answers(choices: int) -> Tensor:
    """Every answer that ends with the end mark, or is as long as may be: answers x length."""
    found = set()
    for units in product(range(choices), repeat=LONGEST):
        place = units.index(EOS) + 1 if EOS in units else LONGEST
        found.add(units[:place] + (PAD,) * (LONGEST - place))
    return torch.tensor(sorted(found))


@pytest.mark.parametrize("penalties", [(0.0, 0.0), (1.0, 0.0), (0.6, 0.3)])
@pytest.mark.parametrize("decoder", DECODERS)
def test_a_beam_wide_enough_finds_the_best_of_all_answers(
    decoder: str, penalties: tuple[float, float]
) -> None:
    model, batch = model_and_batch(decoder)
    choices = model.decoder.output.out_features  # type: ignore[union-attr]
    search = beam(choices**2, 5, *penalties)
    units, scores = decoded(model, batch, search)
    answers = all_answers(choices)
    for i in range(len(batch)):
        one = Batch(
            {n: type(p)(*(t[i : i + 1] for t in p)) for n, p in batch.inputs.items()},
            batch.answer,
            batch.target,
            batch.index[i : i + 1],
        )
        repeated = Batch(
            {n: type(p)(*(t.expand(len(answers), -1) for t in p)) for n, p in one.inputs.items()},
            batch.answer,
            batch.target,
            batch.index,
        )
        right, order = final(model, repeated, answers, search).sort(descending=True)
        torch.testing.assert_close(scores[i], right[:5], atol=1e-4, rtol=1e-4)
        assert units[i, 0].tolist() == answers[order[0]].tolist()


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("decoder", DECODERS)
def test_the_scores_of_a_narrow_beam_are_those_of_its_answers(decoder: str, size: int) -> None:
    """What is kept between steps moves with the prefixes that it belongs to."""
    model, batch = model_and_batch(decoder, longest=9)
    search = beam(size, size, length=1.0, coverage=0.2)
    units, scores = decoded(model, batch, search)
    for place in range(size):
        right = final(model, batch, units[:, place], search)
        torch.testing.assert_close(scores[:, place], right, atol=1e-4, rtol=1e-4)
    assert (scores.diff(dim=1) <= 0).all()
    assert all(len({tuple(u) for u in each.tolist()}) == size for each in units)


@pytest.mark.parametrize("decoder", DECODERS)
def test_one_beam_is_greedy(decoder: str) -> None:
    model, batch = model_and_batch(decoder, longest=9)
    greedy, one = decoded(model, batch), decoded(model, batch, beam(1))
    length = greedy.units.shape[2]
    assert one.units[:, :, :length].tolist() == greedy.units.tolist()
    assert (one.units[:, :, length:] == PAD).all()
    torch.testing.assert_close(one.scores, greedy.scores, atol=1e-4, rtol=1e-4)


def test_greedy_is_the_likeliest_unit_of_each_step() -> None:
    model, batch = model_and_batch("transformer", longest=9)
    units, scores = decoded(model, batch)
    with torch.no_grad():
        best = model.decoder(shifted(units[:, 0]), model.memory(model.reader(batch), 9)).argmax(-1)
    for row, answer in zip(best.tolist(), units[:, 0].tolist(), strict=True):
        ends = answer.index(EOS) + 1 if EOS in answer else len(answer)
        assert row[:ends] == answer[:ends]
        assert set(answer[ends:]) <= {PAD}
    torch.testing.assert_close(scores[:, 0], looked_up(model, batch, units[:, 0])[0])


@pytest.mark.parametrize("decoding", [Greedy(), beam(3)])
def test_an_input_is_answered_the_same_beside_others(decoding: Greedy | Beam) -> None:
    model, batch = model_and_batch("transformer", longest=9)
    together = decoded(model, batch, decoding).units[:, 0]
    for i in range(len(batch)):
        length = int(batch.inputs["text"].mask[i].sum())
        inputs = {
            n: type(p)(p.values[i : i + 1, :length], p.mask[i : i + 1, :length])
            for n, p in batch.inputs.items()
        }
        one = Batch(inputs, batch.answer, batch.target, batch.index[i : i + 1])
        alone = decoded(model, one, decoding).units[:, 0]
        assert _said(alone[0]) == _said(together[i])


def _said(units: Tensor) -> list[int]:
    numbers = units.tolist()
    return numbers[: numbers.index(EOS)] if EOS in numbers else numbers


def test_draws_are_as_likely_as_the_model_says() -> None:
    model, batch = model_and_batch("recurrent")
    units, scores = decoded(model, batch, sample(answers=4000))
    with torch.no_grad():
        first = model.decoder(shifted(units[:, 0]), model.memory(model.reader(batch), LONGEST))[
            :, 0
        ].softmax(-1)
    for i, chances in enumerate(first):
        drawn = torch.bincount(units[i, :, 0], minlength=len(chances)) / 4000
        assert (drawn - chances).abs().max() < 0.03
    assert (scores.diff(dim=1) <= 0).all()


def test_draws_among_one_are_greedy_and_the_seed_decides_the_others() -> None:
    model, batch = model_and_batch("recurrent", longest=9)
    greedy = decoded(model, batch).units.tolist()
    for narrow in (sample(top_k=1), sample(top_p=1e-6), sample(temperature=1e-4)):
        assert decoded(model, batch, narrow).units.tolist() == greedy
    drawn = [decoded(model, batch, sample(answers=3)) for _ in range(2)]
    assert drawn[0].units.tolist() == drawn[1].units.tolist()
    assert len({tuple(u) for u in drawn[0].units[0].tolist()}) > 1


def test_only_the_likeliest_are_drawn() -> None:
    scores = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()
    assert sample(top_p=0.7).kept(scores).isfinite().tolist() == [[True, True, False, False]]
    assert sample(top_p=0.81).kept(scores).isfinite().tolist() == [[True, True, True, False]]
    assert sample(top_k=3).kept(scores.flip(1)).isfinite().tolist() == [[False, True, True, True]]


def test_more_answers_than_prefixes_are_refused() -> None:
    with pytest.raises(ValueError, match="5 answers from 3 prefixes; raise size"):
        BeamConfig(kind="beam", size=3, answers=5, length_penalty=1, coverage_penalty=0)
    with pytest.raises(ValueError, match="less than or equal to 1"):
        SampleConfig(kind="sample", answers=1, temperature=1, top_k=0, top_p=2, seed=0)


def test_coverage_of_a_map_that_is_not_made_step_by_step_is_refused() -> None:
    words = ["task/decoding=beam", "task.decoding.coverage_penalty=0.2", "task.map=encoder.self.0"]
    with pytest.raises(ConfigError) as refused:
        small_config(*words)
    assert (
        "task.decoding.coverage_penalty: task.map 'encoder.self.0' is not made step by step; "
        "set task.decoding.coverage_penalty=0, or task.map=decoder.cross.-1"
    ) in str(refused.value)
