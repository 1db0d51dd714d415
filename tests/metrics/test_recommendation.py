"""Ranking figures against the mean over all orders of the ties."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from sklearn.metrics import ndcg_score

from attnlab.metrics.recommendation import (
    ItemNeighbours,
    Markov,
    Popularity,
    Recommendation,
    RetrievalRanking,
    SampledRecommendation,
    text_keys,
)

HISTORIES = [[0, 1, 2], [0, 1, 3], [3, 0, 2], [1, 2]]


def figures_of_order(order, answer, cutoffs):
    rank = 1 + order.index(answer)
    figures = {"mrr": 1 / rank}
    for k in cutoffs:
        figures[f"hr@{k}"] = float(rank <= k)
        figures[f"ndcg@{k}"] = 1 / math.log2(1 + rank) if rank <= k else 0.0
    return figures


def orders(scores):
    """Every order of the items that their scores allow."""
    items = range(len(scores))
    return [
        p
        for p in itertools.permutations(items)
        if all(scores[a] >= scores[b] for a, b in itertools.pairwise(p))
    ]


@pytest.mark.parametrize("seed", range(3))
def test_figures_are_their_expectation_over_ties(seed):
    random = np.random.default_rng(seed)
    scores = random.integers(0, 3, (6, 5)).astype(float)
    answers = random.integers(0, 5, 6)
    metric = Recommendation(cutoffs=(1, 3))
    metric.update(torch.tensor(scores[:2]), torch.tensor(answers[:2]))
    metric.update(torch.tensor(scores[2:]), torch.tensor(answers[2:]))
    rows = []
    for row, answer in zip(scores, answers, strict=True):
        each = [figures_of_order(order, int(answer), (1, 3)) for order in orders(row)]
        rows.append({name: np.mean([e[name] for e in each]) for name in each[0]})
    expected = {name: np.mean([row[name] for row in rows]) for name in rows[0]}
    assert metric.compute() == pytest.approx(expected)


def test_ndcg_is_that_of_scikit_learn():
    random = np.random.default_rng(0)
    scores, answers = random.random((20, 12)), random.integers(0, 12, 20)
    metric = Recommendation(cutoffs=(5,))
    metric.update(torch.tensor(scores), torch.tensor(answers))
    assert metric.compute()["ndcg@5"] == pytest.approx(ndcg_score(np.eye(12)[answers], scores, k=5))


def test_constant_scores_earn_what_chance_earns():
    metric = Recommendation(cutoffs=(10,))
    metric.update(torch.zeros(4, 1000), torch.tensor([0, 1, 2, 999]))
    assert metric.compute()["hr@10"] == pytest.approx(0.01)


def test_among_all_others_a_sample_is_no_sample() -> None:
    scores = torch.randn(20, 12)
    answers = torch.randint(12, (20,))
    whole, sampled = Recommendation((10,)), SampledRecommendation(10, others=11)
    for metric in (whole, sampled):
        metric.update(scores, answers)
    expected = {f"sampled_{name}": value for name, value in whole.compute().items()}
    assert sampled.compute() == pytest.approx(expected)


def test_chance_finds_the_right_one_among_a_hundred_others_as_often_as_there_are_places() -> None:
    metric = SampledRecommendation(10)
    metric.update(torch.randn(4000, 500), torch.randint(500, (4000,)))
    assert metric.compute()["sampled_hr@10"] == pytest.approx(10 / 101, abs=0.02)


def test_draws_are_the_same_for_every_model_and_leave_out_what_may_not_follow() -> None:
    """Whichever others are drawn, those left out are not among them: the third is always found."""
    scores = torch.randn(50, 30)
    answers = torch.full((50,), 2)
    scores[:, 3:] = -torch.inf  # two others are left
    metrics = [SampledRecommendation(1, others=2) for _ in range(2)]
    metrics[0].update(scores, answers)
    best = (scores[:, :3].argmax(-1) == 2).double().mean().item()
    assert metrics[0].compute()["sampled_hr@1"] == pytest.approx(best)
    again = SampledRecommendation(5, others=9)
    found = []
    for _ in range(2):
        again.reset()
        again.update(torch.arange(30.0).repeat(50, 1), answers)
        found.append(again.compute())
    assert found[0] == found[1]


def test_retrieval_does_not_depend_on_the_batches():
    random = torch.Generator().manual_seed(0)
    texts = torch.randn(120, 8, generator=random).repeat(2, 1)  # each text answers two questions
    questions = texts + 0.8 * torch.randn(texts.shape, generator=random)
    keys = torch.arange(120).repeat(2)
    found = []
    for size in (240, 64, 7):
        metric = RetrievalRanking((1, 10))
        for start in range(0, 240, size):
            part = slice(start, start + size)
            metric.update(questions[part], texts[part], keys[part])
        found.append(metric.compute())
    assert found[0] == found[1] == found[2]
    assert found[0]["candidates"] == 120
    plain = Recommendation((1, 10))
    plain.update((questions.double() @ texts[:120].double().T), keys)
    assert {**plain.compute(), "candidates": 120} == pytest.approx(found[0])
    assert metric.intervals(resamples=50)["candidates"].low == 120


def test_equal_texts_have_one_key_whatever_their_padding():
    values = torch.tensor([[1, 2, 0], [1, 2, 9], [1, 2, 9]])
    mask = torch.tensor([[True, True, False], [True, True, False], [True, True, True]])
    first, second, third = text_keys(values, mask).tolist()
    assert first == second != third


def test_popularity_counts_choices() -> None:
    assert Popularity(HISTORIES, 5).scores([0]).tolist() == [3, 3, 3, 2, 0]


def test_markov_counts_what_came_right_after_and_breaks_ties_by_popularity() -> None:
    scores = Markov(HISTORIES, 5).scores([3, 0])
    assert scores.argsort()[::-1][:2].tolist() == [1, 2]
    assert np.floor(scores).tolist() == [0, 2, 1, 0, 0]
    unseen = Markov(HISTORIES, 5).scores([4])
    assert unseen[3] < unseen[0] < 1, "nothing ever came after item 4: popularity alone"


def test_neighbours_are_those_that_the_same_people_chose() -> None:
    control = ItemNeighbours(HISTORIES, 5, nearest=5)
    # 0 and 1 were chosen together by two of the three who chose either.
    assert control.scores([0])[1] == pytest.approx(2 / 3)
    assert control.scores([0])[0] == 0, "no item is its own neighbour"
    both = control.scores([0, 1])
    np.testing.assert_allclose(both, control.scores([0]) + control.scores([1]))
    last = ItemNeighbours(HISTORIES, 5, nearest=5, latest=1)
    np.testing.assert_allclose(last.scores([0, 1]), control.scores([1]))
    few = ItemNeighbours(HISTORIES, 5, nearest=1)
    assert few.scores([0, 1, 2, 3])[4] == 0
    assert (few.likeness > 0).sum() < (control.likeness > 0).sum()
