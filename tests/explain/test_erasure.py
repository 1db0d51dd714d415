"""Erasure along a map, against loops; limits against every order that there is."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from attnlab.explain.erasure import Decisions, erasure, ranks
from attnlab.explain.limits import area, normalised, searched
from attnlab.explain.methods.maps import attention
from attnlab.explain.subject import Subject
from tests.explain.subjects import subject

FRACTIONS = [0.1, 0.5]
CASES = ["recurrent classify", "transformer generate", "transformer tag", "picture"]


def probability(explained: Subject, example: int, query: int, kept: list[int]) -> float:
    """Of one decision, with some keys' vectors replaced by those of the empty input."""
    one = explained.select(torch.tensor([example]))
    values = one.blank.clone()
    values[:, kept] = one.embedded.values[:, kept]
    with torch.no_grad():
        return float(one.confidence(values)[0, query])


def random_scores(explained: Subject) -> torch.Tensor:
    random = torch.Generator().manual_seed(5)
    return torch.rand(explained.cells.shape, generator=random).double() * explained.cells


@pytest.mark.parametrize("case", CASES)
def test_areas_by_hand(case: str) -> None:
    explained = subject(case)
    scores = random_scores(explained)
    orders = {"attention": scores, "random": torch.zeros_like(scores)}
    erased, kept = [], []
    for i in range(len(explained)):
        length = int(explained.keys[i].sum())
        per_query: list[tuple[float, float]] = []
        for query in explained.decisions[i].nonzero()[:, 0].tolist():
            order = scores[i, query, :length].argsort(descending=True).tolist()
            full = probability(explained, i, query, list(range(length)))
            sizes = [max(1, math.ceil(fraction * length)) for fraction in FRACTIONS]
            first = [full - probability(explained, i, query, order[size:]) for size in sizes]
            only = [full - probability(explained, i, query, order[:size]) for size in sizes]
            per_query.append((float(np.mean(first)), float(np.mean(only))))
        erased.append(np.mean([a for a, _ in per_query]))
        kept.append(np.mean([b for _, b in per_query]))
    findings, curves = erasure([explained], [orders], FRACTIONS, at_most=100)
    areas = {f.test: f.value.mean for f in findings if f.figure == "area"}
    assert areas["comprehensiveness"] == pytest.approx(np.mean(erased), abs=1e-6)
    assert areas["sufficiency"] == pytest.approx(np.mean(kept), abs=1e-6)
    curve = curves["comprehensiveness"]["attention"]
    assert np.mean(curve) == pytest.approx(areas["comprehensiveness"], abs=1e-6)


def every_area(explained: Subject, query: int) -> list[list[float]]:
    """For each example the area of every order."""
    found: list[list[float]] = []
    for i in range(len(explained)):
        length = int(explained.keys[i].sum())
        value = {
            kept: probability(explained, i, query, list(kept))
            for size in range(length + 1)
            for kept in itertools.combinations(range(length), size)
        }
        full = value[tuple(range(length))]
        found.append(
            [
                float(
                    np.mean([full - value[tuple(sorted(order[n:]))] for n in range(1, length + 1)])
                )
                for order in itertools.permutations(range(length))
            ]
        )
    return found


def test_limits_are_exact_with_a_beam_as_wide_as_there_are_orders() -> None:
    explained = subject("transformer classify", (4, 4, 4))
    decisions = Decisions.some(explained, at_most=1)
    low, high = searched(decisions, beam=24)
    areas = every_area(explained, 0)
    np.testing.assert_allclose(low.detach(), [min(each) for each in areas], atol=1e-6)
    np.testing.assert_allclose(high.detach(), [max(each) for each in areas], atol=1e-6)


def test_a_narrow_beam_lies_within_the_limits() -> None:
    explained = subject("transformer classify", (4, 4, 4))
    decisions = Decisions.some(explained, at_most=1)
    exact = searched(decisions, beam=24)
    narrow = searched(decisions, beam=1)
    assert (narrow.low >= exact.low - 1e-9).all()
    assert (narrow.high <= exact.high + 1e-9).all()
    assert (narrow.high > narrow.low).all()


def test_normalised_areas_by_hand() -> None:
    explained = subject("transformer classify", (4, 4, 4))
    scores = attention(explained)
    orders = {"attention": scores, "random": torch.zeros_like(scores)}
    down, up = normalised([explained], [orders], examples=3, beam=24)
    shares = {"down": [], "up": []}
    for i, areas in enumerate(every_area(explained, 0)):
        orders_of = list(itertools.permutations(range(4)))
        order = scores[i, 0].argsort(descending=True).tolist()
        for name, each in (("down", order), ("up", order[::-1])):
            area_ = areas[orders_of.index(tuple(each))]
            shares[name].append((area_ - min(areas)) / (max(areas) - min(areas)))
    assert down.value.mean == pytest.approx(np.mean(shares["down"]), abs=1e-6)
    assert up.value.mean == pytest.approx(np.mean(shares["up"]), abs=1e-6)
    assert down.undefined == 0


def test_very_long_inputs_are_not_searched_and_counted() -> None:
    explained = subject("summed classify", (130, 4, 129))
    scores = attention(explained)
    orders = {"attention": scores, "random": torch.zeros_like(scores)}
    down, _ = normalised([explained], [orders], examples=3, beam=1)
    assert down.undefined == 2
    long = torch.tensor([0, 2])
    kept = {name: each[long] for name, each in orders.items()}
    (finding,) = normalised([explained.select(long)], [kept], examples=3, beam=1)
    assert np.isnan(finding.value.mean)
    assert finding.verdict.startswith("No input is of at most 128 units")


def test_long_inputs_are_erased_in_groups() -> None:
    explained = replace(subject("transformer classify", (25, 18)), at_once=64)
    decisions = Decisions.some(explained, at_most=1)
    scores = decisions.rows(attention(explained))
    found = area(decisions, scores)
    for i, length in enumerate((25, 18)):
        order = scores[i, :length].argsort(descending=True).tolist()
        full = probability(explained, i, 0, list(range(length)))
        sizes = [math.ceil(length * (step + 1) / 10) for step in range(10)]
        falls = [full - probability(explained, i, 0, order[size:]) for size in sizes]
        assert found[i].item() == pytest.approx(np.mean(falls), abs=1e-6)


def test_a_constant_map_erases_at_random_and_padding_comes_last() -> None:
    keys = torch.arange(6)[None] < torch.tensor([6, 4])[:, None]
    place = ranks(torch.zeros(2, 6), keys)
    assert place.sort(1).values.tolist() == [[0, 1, 2, 3, 4, 5]] * 2
    assert place[1, 4:].tolist() == [4, 5] or place[1, 4:].tolist() == [5, 4]
    assert place[0].tolist() != [0, 1, 2, 3, 4, 5]


def test_at_most_some_decisions_of_each_example() -> None:
    explained = subject("transformer tag")
    some = Decisions.some(explained, at_most=2)
    assert some.example.tolist() == [0, 0, 1, 1, 2, 2]
    assert explained.decisions[some.example, some.query].all()
