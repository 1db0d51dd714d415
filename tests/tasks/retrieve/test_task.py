"""Retrieval as a task: the right one is each question's own; gold is one row, of all words."""

from __future__ import annotations

import math

import pytest
import torch

from attnlab.config.compose import load
from attnlab.data.example import Example
from attnlab.datasets.targets.spans import span_target
from attnlab.errors import ConfigError
from attnlab.tasks.retrieve.task import Compared
from tests.models.building import built, small_config

CONFIG = ["task=retrieve", "objective=unsupervised", "attention=additive"]


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
