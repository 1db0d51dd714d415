"""A ranker that learns from every place of a history, without seeing what comes next."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from attnlab.config.schema import Config
from attnlab.data.batch import collate
from attnlab.data.example import Example
from attnlab.learning.tasks import NOT_COUNTED, Rank
from attnlab.models.heads import Ranker
from tests.models.building import WORDS, built, small_config

EVERY = ["task=rank", "task.learn=every_place", "task.repeats=false", "objective=unsupervised"]
MODELS = {
    "sasrec": ["model=transformer", "attention=rope", "model.feedforward_dim=16"],
    "narm": ["model=recurrent", "attention=additive", "model.bidirectional=false"],
    "bag": ["model=recurrent", "attention=additive", "model.encoder_layers=0"],
}


def histories(*lengths: int) -> list[Example]:
    random = np.random.default_rng(0)
    items = [random.permutation(WORDS)[: length + 1].tolist() for length in lengths]
    return [
        Example(str(i), {"items": before}, answer, looks_at="items")
        for i, (*before, answer) in enumerate(items)
    ]


def config(name: str) -> Config:
    return small_config(*EVERY, *MODELS[name])


@pytest.mark.parametrize("name", MODELS)
def test_each_place_answers_as_if_nothing_stood_after_it(name: str) -> None:
    given = config(name)
    examples = histories(5, 3, 1)
    model, batch, codec = built(given, examples)
    at_all = model.train()(batch)  # batch x places x items
    assert at_all.shape[1] == 5
    model.eval()
    for place in range(5):
        cut = [
            Example(e.id, {"items": e.inputs["items"][: place + 1]}, e.answer, looks_at="items")  # type: ignore[index]
            for e in examples
        ]
        alone = model(collate([codec.encode(each, i) for i, each in enumerate(cut)]))[:, 0]
        real = batch.inputs["items"].mask[:, place]
        torch.testing.assert_close(at_all[:, place][real], alone[real])


def test_what_follows_each_place_is_the_next_item_and_at_last_the_answer() -> None:
    given = config("sasrec")
    model, batch, codec = built(given, histories(3, 1))
    task = given.task.build(codec)
    assert isinstance(task, Rank)
    items, answers = batch.inputs["items"].values, batch.answer.values
    expected = [
        [int(items[0, 1]), int(items[0, 2]), int(answers[0, 0])],
        [int(answers[1, 0]), NOT_COUNTED, NOT_COUNTED],
    ]
    assert task.following(batch).tolist() == expected
    sums, places = task.losses(model.train()(batch), batch)
    assert places.tolist() == [3, 1]
    sums.sum().backward()


def test_items_of_the_history_are_not_recommended_where_none_comes_twice() -> None:
    model, batch, _ = built(config("sasrec"), histories(4, 2))
    assert isinstance(model, Ranker)
    with torch.no_grad():
        model.output[-1].bias[batch.inputs["items"].values[0]] += 100  # type: ignore[index]
    ranked = model.answer(batch)
    seen = batch.inputs["items"]
    for best, items, mask in zip(ranked, seen.values, seen.mask, strict=True):
        assert not set(best[:3].tolist()) & set(items[mask].tolist())
    model.repeats = True
    assert set(model.answer(batch)[0, :3].tolist()) <= set(seen.values[0].tolist())
