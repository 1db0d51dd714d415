"""A retriever: each question among the answers of its batch, by vectors that stand alone."""

from __future__ import annotations

import pytest
import torch

from attnlab.attention.probes import Tap
from attnlab.data.batch import Padded
from attnlab.tasks.retrieve.head import Retriever
from tests.models.building import built, small_config, texts

MODELS = {
    "recurrent": ["attention=additive"],
    "transformer": ["model=transformer", "attention=multihead", "model.feedforward_dim=16"],
    "convolutional": ["model=convolutional", "model.encoder_layers=1", "attention=additive"],
}


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
