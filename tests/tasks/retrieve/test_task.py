"""A retriever: each question among the answers of its batch, by vectors that stand alone."""

from __future__ import annotations

import math

import pytest
import torch

from attnlab.attention.taps import Tap
from attnlab.config.compose import load
from attnlab.data.batch import Padded
from attnlab.data.example import Example
from attnlab.datasets.targets import span_target
from attnlab.errors import ConfigError
from attnlab.tasks.retrieve.task import Compared, Retriever
from tests.models.building import built, small_config, texts

MODELS = {
    "recurrent": ["attention=additive"],
    "transformer": ["model=transformer", "attention=multihead", "model.feedforward_dim=16"],
    "convolutional": ["model=convolutional", "model.encoder_layers=1", "attention=additive"],
}

CONFIG = ["task=retrieve", "objective=unsupervised", "attention=additive"]


def retriever(name: str, examples):
    config = small_config("task=retrieve", "objective=unsupervised", *MODELS[name])
    model, batch, _ = built(config, examples)
    assert isinstance(model, Retriever)
    return model, batch


@pytest.mark.parametrize("name", MODELS)
def test_scores_do_not_depend_on_who_else_is_in_the_batch(name: str) -> None:
    model, batch = retriever(name, texts([4, 2, 3], [5, 3, 6]))
    scores = model(batch)
    assert scores.shape == (3, 1, 3)
    said = Padded(batch.answer.values[1:2, :3], batch.answer.mask[1:2, :3])  # without the padding
    alone = model.scores(model.questions(batch), model.replies(said))
    torch.testing.assert_close(scores[:, 0, 1:2], alone)


def test_equal_answers_are_one_choice() -> None:
    first, second, third = texts([3, 3, 3], [5, 5, 5])
    second = type(second)("1", second.inputs, first.answer)
    model, batch = retriever("recurrent", [first, second, third])
    scores = model(batch)[:, 0]
    assert scores[0, 1] == scores[1, 0] == -torch.inf
    assert scores.isfinite().sum() == 7


def test_what_it_answers_is_the_best_answer_of_the_batch() -> None:
    model, batch = retriever("recurrent", texts([3, 4, 2, 5], [5, 5, 6, 3]))
    best = model(batch)[:, 0].argmax(-1)
    assert torch.equal(model.answer(batch), batch.answer.values[best])


@pytest.mark.parametrize("selector", ["pooling", "encoder.self.0"])
def test_maps_are_those_of_the_question(selector: str) -> None:
    model, batch = retriever("transformer", texts([9, 4], [5, 3]))
    with Tap(model, selector) as tap:
        model(batch)
    weights = tap.weights()
    rows = 1 if selector == "pooling" else 5
    assert weights.shape[2:] == (rows, 5)
    torch.testing.assert_close(weights[0].sum(-1), torch.ones_like(weights[0].sum(-1)))


def test_both_sides_learn() -> None:
    model, batch = retriever("recurrent", texts([3, 4], [5, 5]))
    model(batch)[:, 0].diagonal().sum().backward()
    silent = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert all("queries.learned" not in name and "embedder" not in name for name in silent)


def questions() -> list[Example]:
    rows = [[(0, 1)], None, [(2, 3)]]
    target = span_target(rows, 4)
    said = [["x", "and", "y"], ["y", "and", "z"]]
    return [Example(str(i), {"text": list("abcd")}, a, target) for i, a in enumerate(said)]


def test_the_loss_is_that_of_the_own_answer_among_all() -> None:
    config = small_config(*CONFIG)
    _, batch, codec = built(config, questions())
    task = config.task.build(codec)
    vectors, texts = torch.tensor([[2.0, 0.0], [1.0, 1.0]]), torch.eye(2)
    scores = Compared((vectors @ texts.T)[:, None], vectors, texts)
    sums, places = task.losses(scores, batch)
    assert sums.tolist() == pytest.approx([math.log(1 + math.exp(-2)), math.log(2)])
    assert places.tolist() == [1, 1]
    (metric,) = task.metrics()
    task.update_metrics([metric], batch, scores, torch.zeros(2, 1))
    assert metric.compute()["hr@1"] == pytest.approx(0.75), "a tie is half a hit"


def test_gold_of_all_words_is_one_row() -> None:
    _, batch, codec = built(small_config(*CONFIG), questions())
    assert batch.target.weights[0].tolist() == [[1, 0, 1, 0]]
    assert batch.words is None
    written = codec.with_layout(type(codec.layout)())
    assert written.encode(questions()[0], 0).queries == 4, "a row for each word, and the end"


def test_labels_are_not_retrieved() -> None:
    with pytest.raises(ConfigError) as caught:
        load(["~experiment", *CONFIG, "dataset=reviews"])
    assert str(caught.value).startswith(
        "task.kind: 'retrieve' does not go with answers of form 'label' in 'reviews'; "
        "did you mean 'classify'?"
    )
