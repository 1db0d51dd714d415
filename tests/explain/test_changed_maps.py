"""Maps put in the place of the model's own, against loops over examples."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from attnlab.attention.taps import Given, Intervention, Permuted
from attnlab.explain import changed_maps
from attnlab.explain.methods.maps import attention
from attnlab.explain.subject import Subject
from tests.explain.subjects import GENERATED, subject

CASES = ["recurrent classify", "transformer tag", *GENERATED]


def answers(explained: Subject, example: int, weights: Tensor) -> np.ndarray:
    """Distributions of one example under one map for all its rows: queries x choices."""
    one = explained.select(torch.tensor([example]))
    done = 0

    def change(old: Tensor, allowed: Tensor | None) -> Tensor:
        nonlocal done
        rows = weights[None, :, done : done + old.shape[2]]
        done += old.shape[2]
        return rows

    with torch.no_grad(), Intervention(one.model, one.site, change):
        return one.model(one.batch).softmax(-1)[0].numpy()


@pytest.mark.parametrize("case", CASES)
def test_frozen_maps_by_hand(case: str) -> None:
    explained = subject(case)
    own = changed_maps.own_maps(explained).weights.numpy()
    heads, queries, keys = own.shape[1:]
    mean = np.zeros((heads, queries, keys))
    for place in np.ndindex(heads, queries, keys):
        seen = [own[i][place] for i in range(3) if explained.cells[i, place[1], place[2]]]
        mean[place] = np.mean(seen) if seen else 0
    changes, distances = [], []
    for i in range(3):
        visible = mean * explained.keys[i].numpy()
        map_ = torch.from_numpy(visible / np.maximum(visible.sum(-1, keepdims=True), 1e-30))
        before = answers(explained, i, torch.from_numpy(own[i]))
        after = answers(explained, i, map_)
        real = explained.decisions[i].numpy()
        changes.append((before.argmax(-1) != after.argmax(-1))[real].any())
        distances.append((np.abs(before - after).sum(-1) / 2)[real].mean())
    changed, moved = changed_maps.frozen_maps([explained])
    assert changed.value.mean == pytest.approx(np.mean(changes), abs=1e-6)
    assert moved.value.mean == pytest.approx(np.mean(distances), abs=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_uniform_maps_by_hand(case: str) -> None:
    explained = subject(case)
    own = changed_maps.own_maps(explained).weights
    distances = []
    for i in range(3):
        allowed = changed_maps.own_maps(explained).allowed[i].double()
        flat = allowed / allowed.sum(-1, keepdim=True)
        moved = np.abs(answers(explained, i, own[i]) - answers(explained, i, flat)).sum(-1) / 2
        distances.append(moved[explained.decisions[i].numpy()].mean())
    _, distance = changed_maps.uniform_maps([explained])
    assert distance.value.mean == pytest.approx(np.mean(distances), abs=1e-6)


def test_permutation_takes_the_median_of_all_orders() -> None:
    explained = subject("recurrent generate")
    change = Permuted(seed=0)
    moved = []
    for _ in range(9):
        with torch.no_grad(), Intervention(explained.model, explained.site, change):
            after = explained.model(explained.batch).softmax(-1)
        with torch.no_grad():
            before = explained.model(explained.batch).softmax(-1)
        moved.append(((before - after).abs().sum(-1) / 2).numpy())
    median = np.median(np.stack(moved), 0)
    expected = [m[r].mean() for m, r in zip(median, explained.decisions.numpy(), strict=True)]
    _, distance = changed_maps.permutation([explained], times=9)
    assert distance.value.mean == pytest.approx(np.mean(expected), abs=1e-6)


def test_permuted_weights_are_the_same_weights_on_allowed_keys() -> None:
    explained = subject("transformer generate")
    own = changed_maps.own_maps(explained)
    moved = Permuted(seed=3)(own.weights, own.allowed)
    assert (moved[~own.allowed] == 0).all()
    torch.testing.assert_close(moved.sort(-1).values, own.weights.sort(-1).values)
    assert not torch.equal(moved, own.weights)


@pytest.mark.parametrize("case", CASES)
def test_a_model_given_its_own_maps_answers_as_before(case: str) -> None:
    explained = subject(case)
    own = changed_maps.own_maps(explained)
    with torch.no_grad():
        again = changed_maps.under(explained, Given(own.weights))
        torch.testing.assert_close(again, explained.outcomes())
        with changed_maps.inputs_read_once(explained):
            again = changed_maps.under(explained, Given(own.weights))
            torch.testing.assert_close(again, explained.outcomes())
    torch.testing.assert_close(own.weights.mean(1), attention(explained).double())


def test_any_other_decision_is_another_answer() -> None:
    explained = subject("transformer generate")
    before = explained.outcomes().detach()
    after = before.clone()
    last = int(explained.decisions[1].sum()) - 1
    after[1, last] = after[1, last].flip(-1)
    assert changed_maps.changed(before, after, explained).tolist() == [False, True, False]
