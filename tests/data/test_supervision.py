"""Few targets, and wrong ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from attnlab.data.batch import collate
from attnlab.data.example import Example
from attnlab.data.supervision import lacking, permuted, supervised, withhold, without
from attnlab.datasets.targets import score_target, span_target
from attnlab.errors import UserError
from attnlab.stages.prepare import prepared_data
from tests.forms import fitted, load_fitting

INPUTS = ("image", "question")


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


def questions(count: int = 200) -> list[Example]:
    config, _ = load_fitting(["dataset=questions", f"dataset.train={count}"])
    return list(config.dataset.build().examples("train"))


def without_question(share: float) -> set[str]:
    few = lacking(questions(), {"question": share}, INPUTS)
    return {example.id for example in few if example.inputs["question"] is None}


def test_examples_that_lack_an_input_lack_it_at_a_larger_share_too() -> None:
    lost = {share: without_question(share) for share in (0.0, 0.1, 0.5, 1.0)}
    assert lost[0.0] == set() and lost[0.1] < lost[0.5] < lost[1.0]
    assert 5 < len(lost[0.1]) < 40
    assert len(lost[1.0]) == 200


def test_inputs_go_independently() -> None:
    half = lacking(questions(), {"image": 0.5, "question": 0.5}, INPUTS)
    kinds = {(e.inputs["image"] is None, e.inputs["question"] is None) for e in half}
    assert len(kinds) == 4


def test_gold_goes_with_what_it_lies_on() -> None:
    (example,) = questions(1)
    assert without(example, ["image"]).target is None
    assert without(example, ["question"]).target is example.target


def test_name_that_is_no_input() -> None:
    with pytest.raises(UserError) as caught:
        lacking([], {"picture": 0.5}, INPUTS)
    line = "dataset.missing.picture: no input 'picture'; allowed: image, question"
    assert str(caught.value) == line


def test_what_is_missing_is_masked_in_a_batch() -> None:
    examples = questions(3)
    codec = fitted(examples)
    some = [examples[0], without(examples[1], ["image"]), without(examples[2], ["question"])]
    batch = collate([codec.encode(example, i) for i, example in enumerate(some)])
    assert batch.inputs["image"].mask.any(1).tolist() == [True, False, True]
    assert batch.inputs["question"].mask.any(1).tolist() == [True, True, False]
    assert batch.inputs["image"].values.shape == (3, 1, 32, 32)
    assert batch.target.rows().any(1).tolist() == [True, False, True]
    alone = collate([codec.encode_unanswered(without(examples[0], INPUTS), 0)])
    assert alone.inputs["image"].values.shape == (1, 1, 32, 32)
    assert not any(given.mask.any() for given in alone.inputs.values())


def test_bytes_stay_bytes_beside_a_picture_that_is_missing() -> None:
    """What stands for it comes first, and must not make numbers of the others."""
    examples = questions(2)
    for example in examples:
        example.inputs["image"] = (255 * example.inputs["image"]).astype("uint8")  # type: ignore[operator]
    codec = fitted(examples)
    some = [without(examples[0], ["image"]), examples[1]]
    batch = collate([codec.encode(example, i) for i, example in enumerate(some)])
    assert batch.inputs["image"].values.dtype == torch.uint8


def test_prepared_data_are_the_same_with_and_without(tmp_path: Path) -> None:
    """A control that never sees the picture knows the same forms, from the same files."""
    given = ["dataset=questions", "dataset.train=20", "dataset.val=2", "dataset.test=2"]
    given += ["logger=files", f"paths.prepared={tmp_path}"]
    whole = prepared_data(load_fitting(given)[0])
    blind = prepared_data(load_fitting([*given, "+dataset.missing.image=1"])[0])
    assert blind.folder == whole.folder
    for name, found in whole.codec.inputs.items():
        assert blind.codec.inputs[name].describe() == found.describe()
    for split in ("train", "val", "test"):
        assert all(e.inputs["image"] is None for e in blind.examples(split))
    assert [e.inputs["question"] for e in blind.examples("train")[:3]] == [
        e.inputs["question"] for e in whole.examples("train")[:3]
    ]
