"""Erasure against loops that erase by hand, exact Shapley values and scikit-learn."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
import torch
from sklearn.linear_model import Ridge
from torch import Tensor, nn

from attnlab.data.batch import Batch, Padded
from attnlab.data.vocabulary import PAD
from attnlab.explain.methods import perturbation
from attnlab.explain.subject import Subject
from attnlab.tasks.classify.task import Classifier
from tests.explain.subjects import CASES, subject

TEXTS = [case for case in CASES if not case.startswith("picture")]


def by_hand(explained: Subject, example: int, erased: list[int]) -> Tensor:
    """Log odds of one example with units of its text replaced by no unit: queries."""
    one = explained.select(torch.tensor([example]))
    name = one.model.reader.attended  # type: ignore[union-attr]
    units = one.batch.inputs[name].values.clone()
    units[:, erased] = PAD
    inputs = one.batch.inputs | {name: Padded(units, one.batch.inputs[name].mask)}
    scores = choices(one.model, replace(one.batch, inputs=inputs))
    chosen = scores.softmax(-1).gather(-1, one.batch.answer.values[..., None])[0, :, 0]
    return torch.logit(chosen)


def choices(model: nn.Module, batch: Batch) -> Tensor:
    """Scores of what may be answered: batch x queries x choices."""
    return model.choices(batch)[:, None] if isinstance(model, Classifier) else model(batch)


@pytest.mark.parametrize("case", TEXTS)
def test_leave_one_out_by_hand(case: str) -> None:
    explained = subject(case)
    found = perturbation.leave_one_out(explained)
    for i, places in enumerate(explained.cells):
        whole = by_hand(explained, i, [])
        for key in explained.keys[i].nonzero()[:, 0].tolist():
            real = places[:, key]
            expected = whole - by_hand(explained, i, [key])
            torch.testing.assert_close(found[i, real, key], expected[real], atol=1e-6, rtol=1e-6)


def test_occlusion_by_hand() -> None:
    explained = subject("transformer generate")
    found = perturbation.occlusion(explained, reach=1)
    for i, length in enumerate(explained.keys.sum(1).tolist()):
        whole = by_hand(explained, i, [])
        windows = [[k for k in (c - 1, c, c + 1) if 0 <= k < length] for c in range(length)]
        drops = [whole - by_hand(explained, i, window) for window in windows]
        for key in range(length):
            covering = [d for d, w in zip(drops, windows, strict=True) if key in w]
            expected = torch.stack(covering).mean(0)
            torch.testing.assert_close(found[i, :, key], expected, atol=1e-6, rtol=1e-6)


def test_windows_in_a_picture_are_squares() -> None:
    explained = subject("picture")
    assert explained.embedded.grid == (3, 3)
    near = perturbation.neighbours(explained, reach=1)
    assert near[4].all()  # the middle one
    assert near[0].view(3, 3).tolist() == [[True, True, False]] * 2 + [[False] * 3]


def test_shapley_values_are_exact_where_all_coalitions_are_seen() -> None:
    explained = subject("transformer generate")
    found = perturbation.shap(explained, samples=30)
    for i, length in enumerate(explained.keys.sum(1).tolist()):
        value = {
            kept: by_hand(explained, i, [k for k in range(length) if k not in kept])
            for size in range(length + 1)
            for kept in itertools.combinations(range(length), size)
        }
        expected = torch.zeros_like(found[i])
        for order in itertools.permutations(range(length)):
            for place, key in enumerate(order):
                before, after = sorted(order[:place]), sorted(order[: place + 1])
                gain = value[tuple(after)] - value[tuple(before)]
                expected[:, key] += gain / math.factorial(length)
        torch.testing.assert_close(found[i], expected, atol=1e-6, rtol=1e-6)


def test_sampled_shapley_values_sum_to_the_whole_and_come_near() -> None:
    explained = subject("transformer classify", (9, 7))
    exact, drawn = (
        perturbation.shap(explained, samples=510),
        perturbation.shap(explained, samples=200),
    )
    ends = explained.evidence() - explained.evidence(explained.blank)
    torch.testing.assert_close(drawn.sum(-1), ends)
    assert not torch.equal(exact, drawn)
    assert torch.corrcoef(torch.stack([exact.flatten(), drawn.flatten()]))[0, 1] > 0.9


def test_a_single_unit_has_the_whole_value() -> None:
    explained = subject("transformer classify", (1, 2))
    ends = explained.evidence() - explained.evidence(explained.blank)
    torch.testing.assert_close(perturbation.shap(explained, samples=8)[0, 0, 0], ends[0, 0])


def test_limes_regression_is_scikit_learns() -> None:
    random = torch.manual_seed(0)
    kept = (torch.rand(2, 40, 6, generator=random) < 0.5).double()
    kept[:, :, 5] = 1.0  # padding
    found = torch.randn(2, 40, 3, generator=random).double()
    weight = torch.rand(2, 40, generator=random).double()
    ours = perturbation._ridge(kept, found, weight, penalty=1.0)
    for i in range(2):
        theirs = Ridge(alpha=1.0).fit(kept[i], found[i], sample_weight=weight[i])
        torch.testing.assert_close(ours[i], torch.from_numpy(theirs.coef_), atol=1e-9, rtol=1e-9)
    assert ours[:, :, 5].abs().max() < 1e-9


def test_units_that_add_up_have_their_own_effect() -> None:
    """Uniform attention over embeddings, two labels: the log odds are a sum over units."""
    explained = subject("summed classify", (9, 8))
    effect = perturbation.leave_one_out(explained)
    torch.testing.assert_close(perturbation.shap(explained, 40), effect * explained.cells)
    lime = perturbation.lime(explained, 200)  # its ridge draws everything towards zero alike
    for one, other, keys in zip(lime[:, 0], effect[:, 0], explained.keys, strict=True):
        assert torch.corrcoef(torch.stack([one[keys], other[keys]]))[0, 1] > 0.99
