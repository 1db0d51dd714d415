"""Shuffled weights: the map changes with what was learned, or it was never learned."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from attnlab.explain.methods.maps import attention
from attnlab.explain.rankings import randomisation, rank_correlation
from attnlab.explain.subject import Subject
from tests.explain.subjects import subject


def test_a_model_is_like_itself_and_left_as_it_was() -> None:
    explained = subject("transformer generate")
    before = [p.clone() for p in explained.model.parameters()]
    randomisation([explained])
    for parameter, old in zip(explained.model.parameters(), before, strict=True):
        assert torch.equal(parameter, old)
    alike, undefined = rank_correlation(explained, explained.model)
    np.testing.assert_allclose(alike, 1.0)
    assert undefined == 0


def test_likeness_is_scipys() -> None:
    explained = subject("recurrent generate", (6, 5, 7))
    other = subject("recurrent generate", (6, 5, 7)).model
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(torch.randn(parameter.shape, dtype=torch.double))
    alike, _ = rank_correlation(explained, other)
    again = Subject.of(other, explained.task, explained.batch, explained.batch.answer)
    for i, found in enumerate(alike):
        keys, rows = explained.keys[i], explained.decisions[i]
        pairs = zip(attention(explained)[i, rows], attention(again)[i, rows], strict=True)
        taus = [spearmanr(one[keys], two[keys]).statistic for one, two in pairs]
        assert found == pytest.approx(np.mean(taus), abs=1e-6)


def test_parts_are_shuffled_from_the_answer_down() -> None:
    """What stands above a map does not touch it; what stands below does."""
    _, cascade = randomisation([subject("transformer classify", (9, 8, 9))])
    assert [part for part, _ in cascade] == [
        "output",
        "pooling",
        "reader.encoder",
        "reader.embedders",
    ]
    assert cascade[0][1] == pytest.approx(1)
    assert cascade[1][1] < 0.999


def test_a_map_that_is_never_learned_is_undefined() -> None:
    explained = subject("summed classify")
    (finding,), _ = randomisation([explained])
    assert finding.undefined == len(explained)
    assert np.isnan(finding.value.mean)
