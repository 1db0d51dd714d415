"""Several models as one: their scores, maps and decoded texts against each by itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from attnlab.attention.taps import Tap, uniform
from attnlab.data.batch import Batch, Padded
from attnlab.errors import UserError
from attnlab.models.ensemble import Member, changed_map, combined, together
from attnlab.tasks.generate.decoding import Beam, Greedy
from attnlab.tasks.generate.head import Generator
from attnlab.tasks.generate.task import before_end
from attnlab.tasks.task import Task
from tests.models.building import built, small_config, text_example, texts

MAP = "decoder.cross.-1"
KINDS = (["model=recurrent"], ["model=transformer", "model.feedforward_dim=16"])


def writers() -> tuple[Any, list[Generator], Batch]:
    """A task, and two models of different kinds, of whose answers some are much likelier."""
    models: list[Any] = []
    task: Any = None
    batch: Any = None
    for words in KINDS:
        config = small_config("task.max_length=4", *words)
        model, batch, codec = built(config, texts([3, 2, 3], [6, 4, 5]))
        for parameter in model.parameters():
            parameter.data *= 2
        models.append(model)
        task = config.task.build(codec)
    return task, models, batch


def test_scores_are_combined_as_they_are_said_to_be() -> None:
    first = torch.tensor([[2.0, 0.0, -torch.inf]])
    second = torch.tensor([[0.0, 1.0, -torch.inf]])
    third = torch.tensor([[0.0, 3.0, -torch.inf]])
    every = (first, second, third)
    mean = torch.stack(every).softmax(-1).mean(0)
    assert torch.allclose(combined(every, "probabilities").exp(), mean)
    logits = combined(every, "logits")
    assert logits[0, :2].tolist() == pytest.approx([2 / 3, 4 / 3])
    votes = combined(every, "votes").exp()
    assert votes[0].tolist() == pytest.approx([1 / 3, 2 / 3, 0], abs=1e-3)
    tied = combined((first, third), "votes")
    assert int(tied.argmax()) == int((first.softmax(-1) + third.softmax(-1)).argmax()) == 1
    assert all(combined(every, how)[0, 2] == -torch.inf for how in ("probabilities", "votes"))


@torch.no_grad()
def test_a_beam_is_that_of_the_mean_of_all_steps() -> None:
    task, models, batch = writers()
    alone = [model(batch).softmax(-1) for model in models]
    maps = []
    for model in models:
        with Tap(model, MAP) as tap:
            model(batch)
        maps.append(tap.weights().mean(1))
    model = together(
        [Member(each, MAP) for each in models],
        lambda outputs: task.combine(outputs, "probabilities"),
        "probabilities",
    )
    with task.tap(model) as tap:
        scores = model(batch)
    assert torch.allclose(scores.exp(), (alone[0] + alone[1]) / 2, atol=1e-6)
    assert torch.allclose(tap.weights()[:, 0], (maps[0] + maps[1]) / 2, atol=1e-6)
    task.decoding = Beam(size=3, answers=2, length_penalty=0.0, coverage_penalty=0.1)
    greedy = model.decode(batch, Greedy(), task.tap(model))  # type: ignore[operator]
    assert torch.allclose(greedy.scores[:, 0], log_probability(model, batch, greedy.units[:, 0]))
    found = task.predict(model, batch, 2)
    assert [len(each) for each in found] == [2, 2, 2]
    assert found[0][0].score >= found[0][1].score  # type: ignore[operator]


def log_probability(model: nn.Module, batch: Batch, units: Tensor) -> Tensor:
    """Of answers, by passes that read them as if they were gold: batch."""
    mask = before_end(units)
    log_p = model(replace(batch, answer=Padded(units, mask))).log_softmax(-1)
    return (log_p.gather(-1, units[..., None])[..., 0] * mask).sum(1)


@torch.no_grad()
def test_maps_are_changed_in_every_model() -> None:
    task, models, batch = writers()
    expected = []
    for model in models:
        with changed_map(model, MAP, uniform):
            expected.append(model(batch).softmax(-1))
    members = [Member(each, MAP) for each in models]
    model = together(members, lambda outputs: combined(outputs, "probabilities"), "probabilities")
    with changed_map(model, task.map, uniform):
        changed = model(batch)
    assert torch.allclose(changed.exp(), (expected[0] + expected[1]) / 2, atol=1e-6)


@torch.no_grad()
def test_labels_and_numbers_of_several_models() -> None:
    random = np.random.default_rng(0)
    examples = [text_example(str(i), 5, label, random) for i, label in enumerate(["x", "y", "z"])]
    config = small_config("task=classify")
    pair: Any = [built(config, examples) for _ in range(2)]
    (first, batch, codec), (second, _, _) = pair
    task: Any = config.task.build(codec)
    for model in (first, second):
        for parameter in model.parameters():
            parameter.data += torch.randn_like(parameter)
    scores = first.choices(batch), second.choices(batch)
    members = [Member(each, task.map) for each in (first, second)]
    model = together(members, lambda outputs: task.combine(outputs, "logits"), "logits")
    best = task.predict(model, batch, 3)[0][0]
    expected = ((scores[0] + scores[1]) / 2).softmax(-1)
    assert best.score == pytest.approx(float(expected[0].max()), abs=1e-5)
    numbers = [torch.tensor([[1.0]]), torch.tensor([[2.0]]), torch.tensor([[9.0]])]
    regress = small_config("task=regress", "dataset=ratings").task.implementation()
    means = [regress.combine(task, numbers, how).item() for how in ("probabilities", "votes")]
    assert means == [4.0, 2.0]


def test_a_task_whose_models_cannot_answer_as_one_says_so() -> None:
    task, _, _ = writers()
    with pytest.raises(UserError, match="cannot answer 'generate' as one"):
        Task.combine(task, [], "probabilities")
