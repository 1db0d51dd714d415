"""What rare labels weigh in the loss of `task=classify`."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from attnlab.data.example import Example
from attnlab.tasks.classify.answer import Label
from tests.models.building import WORDS, built, fitted, small_config, text_example

RARE = ["x", "x", "x", "y"]


def examples(answers: list[str]) -> list[Example]:
    random = np.random.default_rng(0)
    return [text_example(str(i), len(WORDS), each, random) for i, each in enumerate(answers)]


@pytest.mark.parametrize("weights", ["none", "balanced"])
def test_balanced_labels_weigh_alike_and_an_example_weighs_one_in_the_mean(weights: str) -> None:
    config = small_config("task=classify", f"task.class_weights={weights}")
    model, batch, codec = built(config, examples(RARE))
    task = config.task.build(codec)
    scores = torch.zeros_like(model(batch))
    sums, counts = task.losses(scores, batch)
    shares = (sums / sums.mean()).tolist()
    balanced = [2 / 3, 2 / 3, 2 / 3, 2.0]
    assert shares == pytest.approx(balanced if weights == "balanced" else [1.0] * 4)
    assert counts.tolist() == [1] * 4


def test_labels_that_training_withholds_are_not_balanced() -> None:
    """Of four examples with a common label training has one."""
    config = small_config("task=classify", "task.class_weights=balanced")
    _, batch, codec = built(config, examples([*RARE[:1] * 4, RARE[-1]]))
    task = config.task.build(codec)
    seen = [item if i in (0, 4) else item[:0] for i, item in enumerate(batch.answer.values)]
    task.see_answers(seen)
    assert task.weights.tolist() == [1.0, 1.0]


def test_counts_are_kept_with_the_labels() -> None:
    label = Label(["x", "y", "z"], counts=[3, 1, 0])
    again = Label.from_plain(json.loads(json.dumps(label.describe())))
    assert again.balanced_weights() == pytest.approx([2 / 3, 2.0, 0.0])


def test_graded_choices_are_those_of_labels_that_are_predicted() -> None:
    config = small_config("task=classify", "+task.merge_labels={y: x, z: null}")
    model, batch, codec = built(config, examples(["w", "x", "y", "z"]))
    task = config.task.build(codec)
    scores = model(batch)
    graded, gold = task.graded(scores, batch)
    assert gold.flatten().tolist() == [0, 1, 1, -100]
    merged = scores[:, 0, 1:3].logsumexp(-1)
    assert torch.allclose(graded[:, 0, :2], torch.stack([scores[:, 0, 0], merged], -1))
    assert graded[:, 0, 2:].isneginf().all()


def test_one_label_alone_is_noted() -> None:
    assert fitted(examples(["x"] * 3)).answers.note() == (
        "all training examples have the label 'x', so that nothing is learned"
    )
    assert fitted(examples(RARE)).answers.note() == ""
