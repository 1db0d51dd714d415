"""Attacks on pictures: inside their limits, against a model whose worst case is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from attnlab.explain.attacks import (
    SERIES,
    Attacked,
    answer_lost,
    ascended,
    blurred,
    cropped,
    map_distance,
    map_lost,
    noisy,
)
from tests.models.building import built, pictures, small_config


@pytest.fixture(scope="module")
def attacked() -> Attacked:
    config = small_config("task=classify", "dataset=mnist", "metrics.figures=[]", "model.dim=8")
    model, batch, codec = built(config, pictures(["a", "b", "c"]))
    torch.manual_seed(1)
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    subject = Attacked(model, config.task.build(codec), batch, "image")
    subject.gold = list(subject.clean.texts)  # so that no answer is wrong before
    answers: Any = [codec.answers.labels.index(each) for each in subject.gold]
    gold = batch.answer._replace(values=torch.tensor(answers)[:, None])
    subject.batch = replace(batch, answer=gold)
    subject.clean = subject.outputs(subject.values)
    return subject


def test_changes_stay_within_their_size_and_the_range_of_pixels(attacked: Attacked) -> None:
    for size, steps, restarts in ((0.1, 1, 0), (0.1, 4, 2)):
        values = ascended(attacked, answer_lost, size, steps, restarts)
        assert (values - attacked.values).abs().max() <= size + 1e-6
        assert values.min() >= 0 and values.max() <= 1
        assert (values != attacked.values).any()


def test_more_steps_do_more_harm_and_a_restart_none_less(attacked: Attacked) -> None:
    def worst(steps: int, restarts: int) -> torch.Tensor:
        values = ascended(attacked, answer_lost, 0.1, steps, restarts)
        outputs = attacked.outputs(values)
        return outputs.losses + 1e6 * attacked.wrong(outputs)

    clean, one, several = attacked.clean.losses, worst(1, 0), worst(8, 0)
    assert (one > clean).all()
    assert several.mean() >= one.mean()
    assert (worst(4, 3) >= worst(4, 1) - 1e-5).all()


def test_a_map_is_moved_with_the_answer_kept(attacked: Attacked) -> None:
    values = ascended(attacked, map_lost, 0.1, 8, 1)
    outputs = attacked.outputs(values)
    random = noisy(attacked.values, 0.05)
    assert (
        attacked.moved(outputs.maps).mean() > attacked.moved(attacked.outputs(random).maps).mean()
    )
    assert attacked.moved(attacked.clean.maps).max() < 1e-6
    assert outputs.losses.mean() <= attacked.clean.losses.mean() + 0.1


def test_maps_are_compared_over_the_rows_that_exist() -> None:
    one = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
    other = torch.tensor([[[0.0, 2.0], [1.0, 0.0]]])
    every, first = torch.tensor([[True, True]]), torch.tensor([[True, False]])
    assert float(map_distance(one, other, first)) == pytest.approx(float(torch.tensor(2.0).log()))
    assert float(map_distance(one, other, every)) == pytest.approx(0.3466, abs=1e-3)


def test_blur_keeps_what_is_even_and_spreads_what_is_not() -> None:
    even = torch.full((1, 1, 9, 9), 0.4)
    assert torch.allclose(blurred(even, 1.0), even, atol=1e-6)
    point = torch.zeros(1, 1, 9, 9)
    point[..., 4, 4] = 1.0
    spread = blurred(point, 1.0)
    assert spread.sum() == pytest.approx(1.0, abs=1e-3) and spread.max() < 0.2
    assert torch.allclose(spread[0, 0], spread[0, 0].T, atol=1e-6)
    sound = torch.zeros(1, 9)
    sound[0, 4] = 1.0
    assert blurred(sound, 1.0)[0, 3:6].sum() > 0.8
    assert noisy(torch.full((1, 99), -0.5), 0.1).min() >= -1


def test_a_crop_keeps_the_middle() -> None:
    pictures = cropped(torch.ones(2, 3, 10, 20), 0.1)
    assert pictures[:, :, 1:9, 2:18].eq(1).all() and pictures.sum() == 2 * 3 * 8 * 16
    assert cropped(torch.ones(1, 10), 0.2).tolist() == [[0, 0, *[1] * 6, 0, 0]]
    assert set(SERIES) == {"noise", "blur", "crop"}
