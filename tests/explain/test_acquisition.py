"""Measures of what an example would teach, on models whose doubts are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from attnlab.errors import UserError
from attnlab.explain.acquisition import (
    MEASURES,
    bald,
    dropping,
    entropy,
    farthest_first,
    gradient_length,
    greatest,
    map_disagreement,
    require_choices,
    states,
)
from attnlab.models.ensemble import Member, combined, together
from tests.models.building import built, small_config, text_example, texts


def classifier(dropout: float = 0.0) -> tuple[Any, Any, Any]:
    random = np.random.default_rng(0)
    examples = [text_example(str(i), 5, label, random) for i, label in enumerate("xyzx")]
    config = small_config("task=classify", f"model.dropout={dropout}")
    model, batch, codec = built(config, examples)
    return model, config.task.build(codec), batch


def test_entropy_is_that_of_the_choices() -> None:
    model, task, batch = classifier()
    p = model.choices(batch).softmax(-1)
    assert torch.allclose(entropy(model, task, batch), -(p * p.log()).sum(-1), atol=1e-5)


def test_equal_models_never_disagree_and_others_do() -> None:
    def disagreement(spread: float) -> tuple[float, float]:
        (model, task, batch), (other, _, _) = classifier(), classifier()
        for parameter in other.parameters():
            parameter.data += spread * torch.randn_like(parameter)
        pair = [Member(model, task.map), Member(other, task.map)]
        together(pair, lambda outputs: combined(outputs, "probabilities"), "probabilities")
        return tuple(float(way(model, task, batch).mean()) for way in (bald, map_disagreement))  # type: ignore[return-value]

    torch.manual_seed(0)
    assert disagreement(0.0) == pytest.approx((0, 0), abs=1e-6)
    answers, maps = disagreement(0.5)
    assert answers > 1e-3 and maps > 1e-3


def test_a_model_disagrees_with_itself_by_its_dropout_alone() -> None:
    model, task, batch = classifier(dropout=0.5)
    assert (bald(model, task, batch) > 0).all()
    assert not any(module.training for module in model.modules())
    model, task, batch = classifier()
    with pytest.raises(UserError, match="this model has no dropout"), dropping(model):
        pass


def test_the_gradient_is_long_where_an_answer_would_be_a_surprise() -> None:
    model, task, batch = classifier()
    lengths = gradient_length(model, task, batch)
    assert lengths.shape == (4,) and (lengths > 0).all()
    model.output.weight.data.zero_()
    model.output.bias.data = torch.tensor([50.0, 0.0, 0.0])  # sure, whatever it reads
    assert gradient_length(model, task, batch).max() < 1e-6 * lengths.min()


def test_texts_are_measured_by_every_way() -> None:
    config = small_config("task.max_length=4", "model.dropout=0.2")
    model, batch, codec = built(config, texts([3, 2], [6, 4]))
    task = config.task.build(codec)
    for way in MEASURES.values():
        assert way(model, task, batch).shape == (2,)
    assert states(model, batch).shape[0] == 2


def test_the_farthest_come_first_and_none_twice() -> None:
    vectors = torch.tensor([[0.0], [0.1], [5.0], [-9.0]])
    assert farthest_first(vectors, 3) == [0, 3, 2]
    assert sorted(farthest_first(torch.zeros(3, 2), 9)) == [0, 1, 2]
    assert greatest([0.1, 3.0, 2.0], 2) == [1, 2]


def test_a_task_without_choices_is_told_what_to_use() -> None:
    class Numbers(nn.Module): ...

    with pytest.raises(UserError, match="'bald' needs choices, and 'numbers' makes none"):
        require_choices(Numbers(), "bald")  # type: ignore[arg-type]
    require_choices(Numbers(), "core_set")  # type: ignore[arg-type]
