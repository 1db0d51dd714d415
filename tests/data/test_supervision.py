"""Few targets, and wrong ones."""

from __future__ import annotations

import numpy as np

from attnlab.data.example import Example
from attnlab.data.supervision import permuted, supervised, withhold
from attnlab.datasets.targets.spans import score_target, span_target


def marked(count: int, random: np.random.Generator) -> list[Example]:
    """Texts of different lengths, in each one span marked for each of some queries."""
    examples = []
    for i in range(count):
        length, queries = int(random.integers(6, 15)), int(random.integers(1, 4))
        starts = random.integers(0, length - 1, queries).tolist()
        target = span_target([[(start, start + 1)] for start in starts], length)
        examples.append(Example(f"{i}", {"text": ["a"] * length}, ["b"] * queries, target))
    return examples


def test_a_larger_share_holds_the_smaller_one() -> None:
    examples = marked(400, np.random.default_rng(0))
    kept = {
        share: {e.id for e in withhold(examples, share) if e.target.query_mask.any()}  # type: ignore[union-attr]
        for share in (0.0, 0.01, 0.1, 1.0)
    }
    assert kept[0.0] == set() and kept[0.01] <= kept[0.1] <= kept[1.0]
    assert 20 <= len(kept[0.1]) <= 60
    assert len(kept[1.0]) == 400


def test_permuted_targets_are_those_of_others_in_ones_own_shape() -> None:
    examples = marked(200, np.random.default_rng(0))
    wrong = permuted(examples)
    same = 0
    for before, after in zip(examples, wrong, strict=True):
        assert before.target is not None and after.target is not None
        assert after.target.weights.shape == before.target.weights.shape
        assert after.inputs is before.inputs
        assert (after.target.weights.sum(1) > 0).all(), "as much is marked as before"
        same += np.array_equal(before.target.weights, after.target.weights)
    assert same < 20, "gold of another example agrees by chance alone"


def test_permuted_is_the_same_every_time_and_gives_every_target_once() -> None:
    examples = [
        Example(str(i), {"text": ["a"] * 50}, "b", span_target([[(i, i + 1)]], 50))
        for i in range(50)
    ]
    one, other = (supervised(examples, 1.0, "permuted") for _ in range(2))
    places = [int(e.target.weights.argmax()) for e in one]  # type: ignore[union-attr]
    assert places == [int(e.target.weights.argmax()) for e in other]  # type: ignore[union-attr]
    assert sorted(places) == list(range(50))
    assert all(place != i for i, place in enumerate(places))


def test_permuted_soft_targets_keep_their_mass() -> None:
    random = np.random.default_rng(0)
    lengths = random.integers(3, 12, 30).tolist()
    examples = [
        Example(str(i), {"text": ["a"] * n}, "b", score_target(random.random(n) + 0.1))
        for i, n in enumerate(lengths)
    ]
    for example in permuted(examples):
        assert example.target is not None
        np.testing.assert_allclose(example.target.weights.sum(), 1, rtol=1e-5)
