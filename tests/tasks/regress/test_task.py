"""Numbers are learned in standard deviations and answered in the units of the data."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from attnlab.attention.taps import Tap
from attnlab.data.batch import Batch, collate
from attnlab.data.codec import Codec
from attnlab.data.example import Example
from attnlab.explain.subject import Subject
from attnlab.stages.predictions import PredictedAnswer, as_annotation
from attnlab.stages.requests import Request
from attnlab.tasks.regress.task import Regress
from tests.models.building import built, small_config

ANSWERS = [[1.0, 100.0], [3.0, 300.0], [5.0, 500.0]]  # spreads 1.633 and 163.3


def examples(answers: list[Any]) -> list[Example]:
    return [Example(str(i), {"text": ["a", "b", "c"]}, a) for i, a in enumerate(answers)]


def task(loss: str = "mse", answers: list[Any] = ANSWERS) -> tuple[Regress, Batch]:
    codec = Codec.fit(examples(answers), "numbers")
    batch = collate([codec.encode(e, i) for i, e in enumerate(examples(answers))])
    return Regress(codec, map="pooling", loss=loss, huber_delta=0.5), batch


@pytest.mark.parametrize("loss, expected", [("mse", 9.0), ("absolute", 3.0), ("huber", 1.375)])
def test_losses_are_of_standardized_numbers(loss: str, expected: float) -> None:
    regress, batch = task(loss)
    scores = regress.numbers.standardize(batch.answer.values)
    torch.testing.assert_close(scores.mean(0), torch.zeros(2))
    assert float(regress.loss(scores, batch)) == pytest.approx(0, abs=1e-9)
    assert float(regress.loss(scores + 3, batch)) == pytest.approx(expected, rel=1e-5)
    assert regress.losses(scores, batch)[1].tolist() == [2, 2, 2]


@pytest.mark.parametrize("answer", [[1.5, -300.0], [2500.0]])
def test_an_answer_is_a_line_of_annotations_in_numbers(answer: list[float]) -> None:
    regress, _ = task(answers=[answer, answer])
    request = Request("x", examples([answer])[0])
    said = PredictedAnswer(regress.numbers.text(answer), None, np.ones((1, 3), np.float32), [], [])
    line = as_annotation(request, [said], regress.codec)["answer"]
    assert line == (answer if len(answer) > 1 else answer[0])
    assert regress.numbers.accepts(line)


def test_one_number_needs_no_list_and_equal_answers_no_spread() -> None:
    regress, batch = task(answers=[4.0, 4.0])
    assert batch.answer.values.tolist() == [[4.0], [4.0]]
    assert regress.texts(batch.answer.values, batch) == ["4", "4"]
    assert float(regress.loss(torch.zeros(2, 1), batch)) == 0


def test_the_mean_of_training_explains_no_variance() -> None:
    regress, batch = task()
    scores, answers = regress.controls(batch, torch.randn(3, 2), [])["mean"]
    assert answers.tolist() == [[3.0, 300.0]] * 3
    assert float(regress.loss(scores, batch)) == pytest.approx(1, rel=1e-5)
    metrics = regress.metrics()
    regress.update_metrics(metrics, batch, scores, answers)
    assert float(metrics[0].compute()["r2"]) == pytest.approx(0, abs=1e-6)


def test_a_linear_model_is_a_control() -> None:
    texts = [["one"], ["two"], ["one", "two"]] * 10
    known = [Example(str(i), {"text": t}, [float(len(t)), 7.0]) for i, t in enumerate(texts)]
    codec = Codec.fit(known, "numbers")
    regress = Regress(codec, map="pooling", loss="mse", huber_delta=0.5)
    regress.fit([*known, replace(known[0], answer=None)])
    batch = collate([codec.encode(e, i) for i, e in enumerate(known[:3])])
    scores, answers = regress.controls(batch, torch.zeros(3, 2), known[:3])["linear"]
    torch.testing.assert_close(
        answers, torch.tensor([[1.0, 7.0]] * 2 + [[2.0, 7.0]]), atol=0.2, rtol=0
    )
    torch.testing.assert_close(scores, regress.numbers.standardize(answers))


def test_numbers_change_beyond_a_tenth_of_their_spread() -> None:
    regress, batch = task()
    own = batch.answer.values
    moved = own + torch.tensor([[0.1, 10.0], [0.2, 10.0], [0.2, 20.0]])
    assert regress.changed(own, moved, batch).tolist() == [0.0, 0.5, 1.0]


def test_distance_and_confidence_count_spreads() -> None:
    regress, batch = task()
    own = batch.answer.values
    spread = torch.tensor(regress.numbers.spreads)
    other = (own + spread).requires_grad_()
    confidence = regress.confidence(other[..., None], own)
    torch.testing.assert_close(confidence, torch.full((3, 2), -1.0).exp())
    distance = regress.distance(own[..., None], other[..., None])
    torch.testing.assert_close(distance, 1 - confidence)
    distance.sum().backward()
    assert other.grad is not None and (other.grad > 0).all()
    assert not regress.differs(own[..., None], own[..., None]).any()
    assert regress.differs(own[..., None], other[..., None]).all()
    evidence = regress.evidence(other[..., None], own) - regress.evidence(own[..., None], own)
    torch.testing.assert_close(evidence, torch.ones(3, 2))


@pytest.mark.parametrize("predicted", [False, True])
def test_each_number_has_a_query_and_a_row_of_the_map(predicted: bool) -> None:
    overrides = ["+attention@model.prediction=additive"] if predicted else []
    overrides += ["task.map=prediction.cross.0"] if predicted else []
    config = small_config("task=regress", "dataset=ratings", *overrides)
    codec = Codec.fit(examples(ANSWERS), "numbers")
    model, batch, codec = built(config, examples(ANSWERS), codec)
    regress: Regress = config.task.build(codec)
    with Tap(model, config.task.map) as tap:
        scores = model(batch)
    assert scores.shape == (3, 2) and tap.weights().shape == (3, 1, 2, 3)
    torch.testing.assert_close(regress.answer(model, batch), regress.numbers.restore(scores))
    (first, *_) = regress.predict(model, batch, 1)
    assert len(first[0].text.split()) == 2 and first[0].map.shape == (2, 3)
    question = collate([codec.encode_unanswered(examples(ANSWERS)[0], 0)])
    assert question.target.weights.shape[1] == 2, "as many rows where the answer is unknown"


def test_a_number_is_explained_by_its_own_row() -> None:
    config = small_config("task=regress", "dataset=ratings")
    codec = Codec.fit(examples(ANSWERS), "numbers")
    model, batch, codec = built(config, examples(ANSWERS), codec)
    subject = Subject.of(model, config.task.build(codec), batch)
    assert subject.decisions.shape == subject.evidence().shape == (3, 2)
    torch.testing.assert_close(subject.confidence(), torch.ones(3, 2))
    assert codec.answers.decisions([1.0, 2.5]) == ["1", "2.5"]
