"""Each unit of a text is predicted from those before it; prompts are continued."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from attnlab.attention.taps import Tap
from attnlab.config.compose import load
from attnlab.data.batch import Padded, collate
from attnlab.data.example import Example
from attnlab.data.target import AttentionTarget
from attnlab.data.vocabulary import SPECIAL
from attnlab.errors import ConfigError, UserError
from attnlab.tasks.generate.decoding import Beam, Sample
from attnlab.tasks.language_model.task import LanguageModel
from tests.models.building import SMALL, built, pictures, small_config

TASK = ["dataset=induction", "task=language_model"]
MODELS = {
    "transformer": ["model=transformer", "model.feedforward_dim=16", "attention=rope"],
    "recurrent": ["model=recurrent", "model.bidirectional=false", "task.map=decoder.self.0"],
}
TEXTS = ["abcab", "cab", "bcabc"]


def examples() -> list[Example]:
    """Gold of the last two units: the row of a unit marks the one before."""
    made = []
    for i, text in enumerate(TEXTS):
        gold = np.eye(len(text), k=-1, dtype=np.float32)
        annotated = np.arange(len(text)) >= len(text) - 2
        target = AttentionTarget(gold, annotated, np.ones(len(text), bool))
        made.append(Example(str(i), {"text": list(text)}, None, target=target))
    return made


def made(name: str):
    config = small_config(*TASK, *MODELS[name])
    model, batch, codec = built(config, examples())
    task = config.task.build(codec)
    assert isinstance(task, LanguageModel)
    return model, batch, task


@pytest.mark.parametrize("name", MODELS)
def test_scores_are_of_the_unit_after_each_and_see_no_later_one(name: str) -> None:
    model, batch, task = made(name)
    scores = model(batch)
    units, mask = batch.inputs["text"]
    losses, counts = task.losses(scores, batch)
    assert counts.tolist() == [4, 2, 4]
    expected = F.cross_entropy(scores[1, :2], units[1, 1:3], reduction="sum")
    torch.testing.assert_close(losses[1], expected)
    changed = units.clone()
    changed[:, 2] = units[:, 3]
    other = replace(batch, inputs={"text": Padded(changed, mask)})
    torch.testing.assert_close(model(other)[:, :2], scores[:, :2])
    assert not torch.allclose(model(other)[:, 2:], scores[:, 2:])


def test_answers_and_figures_stand_at_the_units_that_they_predict() -> None:
    model, batch, task = made("transformer")
    gold = task.gold(batch)
    scores = F.one_hot(gold.clamp_min(0), len(task.units.vocabulary)) * 50.0
    assert torch.equal(batch.answer.values, batch.inputs["text"].values)
    assert task.texts(batch.answer.values, batch)[0].replace(" ", "") == TEXTS[0]
    metrics = task.metrics()
    task.update_metrics(metrics, batch, scores, batch.answer.values)
    figures = {name: float(v) for metric in metrics for name, v in metric.compute().items()}
    assert figures == pytest.approx({"perplexity": 1, "bits_per_unit": 0, "token_accuracy": 1})
    answers = task.answer(model, batch)
    torch.testing.assert_close(answers[:, 1:], model(batch)[:, :-1].argmax(-1))
    other = answers.clone()
    other[1, 1] += 1
    other[1, 4] += 1  # padding
    assert task.changed(answers, other, batch).tolist() == [0, 0.5, 0]


def test_rows_of_maps_are_those_of_the_units_that_they_predict() -> None:
    model, batch, task = made("transformer")
    with Tap(model, task.map) as tap:
        scores = model(batch)
    maps = task.as_gold(tap.weights(), scores, batch)
    assert maps.shape[-2:] == batch.target.weights.shape[-2:]
    torch.testing.assert_close(maps[:, :, 1:], tap.weights()[:, :, :-1])
    assert (maps[:, :, 3, 3:] == 0).all(), "unit 3 is predicted from those before it"
    assert batch.target.rows()[0].tolist() == [False, False, False, True, True]


def test_frequencies_are_a_control() -> None:
    _, batch, task = made("transformer")
    assert task.controls(batch, torch.zeros(1), []) == {}
    task.fit(examples())
    scores, answers = task.controls(batch, torch.zeros(1), [])["unigram"]
    torch.testing.assert_close(scores.exp().sum(-1), torch.ones(scores.shape[:2]))
    assert set(task.units.vocabulary.decode(answers[0].tolist())) == {"b"}, "it occurs most often"


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_prompts_are_continued_as_one_pass_scores_them(name: str) -> None:
    model, batch, task = made(name)
    task.max_length = 4
    for i, found in enumerate(task.predict(model, batch, 1)):
        units = batch.inputs["text"].values[i][batch.inputs["text"].mask[i]].tolist()
        score = 0.0
        for word in found[0].words:
            step = model.decoder(torch.tensor([units]))[0, -1]
            step[: len(SPECIAL)] = -torch.inf  # no marks in these texts
            step = step.log_softmax(-1)
            units.append(int(step.argmax()))
            assert task.units.vocabulary.units[units[-1]] == word
            score += float(step.max())
        assert len(found[0].words) == 4
        assert found[0].score == pytest.approx(score, abs=1e-4)
        assert found[0].map.shape[1] == len(TEXTS[i])
    task.context = 6  # two units of each prompt
    shown = task.predict(model, batch, 1)[0][0]
    assert (shown.map[:, :3] == 0).all() and (shown.map[:, 3:] > 0).any()


def test_beams_and_samples_are_sorted() -> None:
    model, batch, task = made("transformer")
    task.max_length = 3
    beam = Beam(size=4, answers=3, length_penalty=0.0, coverage_penalty=0.0)
    for decoding in (beam, Sample(answers=3, temperature=1.0, top_k=0, top_p=1.0, seed=0)):
        task.decoding = decoding
        for found in task.predict(model, batch, 3):
            scores = [each.score for each in found]
            assert len(found) == 3 and scores == sorted(scores, reverse=True)  # type: ignore[type-var]


def test_a_question_needs_no_answer() -> None:
    model, _, task = made("transformer")
    batch = collate(
        [task.codec.encode_unanswered(example, i) for i, example in enumerate(examples())]
    )
    task.max_length = 2
    assert all(len(found) == 1 for found in task.predict(model, batch, 1))


def test_refused() -> None:
    with pytest.raises(ConfigError, match="leaves no room for a prompt"):
        load([*SMALL, *TASK, *MODELS["transformer"], "task.max_length=8", "task.context=8"])
    with pytest.raises(ConfigError, match="bidirectional"):
        load([*SMALL, *TASK, "model=recurrent"])
    with pytest.raises(ConfigError, match="coverage_penalty"):
        beam = ["task/decoding=beam", "task.decoding.coverage_penalty=0.1"]
        load([*SMALL, *TASK, *MODELS["transformer"], *beam])
    with pytest.raises(UserError, match="learns one text"):
        built(small_config(*TASK, *MODELS["transformer"]), pictures([None]))
