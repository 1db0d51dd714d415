"""What must hold for every generator: same seed same data, no overlap, the sizes asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from attnlab.data.example import Example
from attnlab.data.store import Store, Stored
from attnlab.datasets.generators.generator import Generator, split_of

CONF = Path(__file__).parents[3] / "conf" / "dataset"
NAMES = [
    "baskets", "canvas", "dates", "haystack", "induction", "questions", "ratings", "recall",
    "reviews", "tones",
]  # fmt: skip
SMALL = {"train": 100, "val": 20, "test": 20}


def content(example: Example) -> tuple:
    """What a model is given, so that equal contents would be the same example."""
    return tuple(
        value.tobytes() if isinstance(value, np.ndarray) else repr(value)
        for value in example.inputs.values()
    )


def digest(generator: Generator) -> str:
    """A fingerprint of everything that is in the training examples."""
    total = hashlib.sha256()
    for example in generator.examples("train"):
        assert example.target is not None
        parts = [example.id, *example.inputs.values(), example.answer, example.attended]
        parts += [example.meta, example.target.weights, example.target.query_mask]
        for part in parts:
            is_array = isinstance(part, np.ndarray)
            total.update(part.tobytes() if is_array else repr(part).encode())
    return total.hexdigest()


@pytest.fixture(scope="module")
def another_process() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        yield pool


@pytest.mark.parametrize("name", NAMES)
def test_the_same_in_another_process(generator, name, another_process):
    made = generator(name, **SMALL)
    assert another_process.submit(digest, made).result() == digest(made)


@pytest.mark.parametrize("name", NAMES)
def test_seeds_differ(generator, name):
    assert digest(generator(name, **SMALL)) != digest(generator(name, **SMALL, seed=1))


@pytest.mark.parametrize("name", NAMES)
def test_an_example_does_not_depend_on_the_size(generator, name):
    small, large = generator(name, train=3), generator(name, train=50)
    for alone, among in zip(small.examples("train"), large.examples("train"), strict=False):
        assert content(alone) == content(among)


@pytest.mark.parametrize("name", NAMES)
def test_sizes_and_ids(generator, name):
    made = generator(name, train=7, val=3, test=0)
    ids = [example.id for split in ("train", "val", "test") for example in made.examples(split)]
    assert len(set(ids)) == 10
    assert [len(list(made.examples(split))) for split in ("train", "val", "test")] == [7, 3, 0]


@pytest.mark.parametrize("name", NAMES)
def test_splits_share_nothing(generator, name):
    made = generator(name, train=600, val=120, test=120)
    contents = {s: {content(e) for e in made.examples(s)} for s in ("train", "val", "test")}
    assert not contents["train"] & contents["val"]
    assert not contents["train"] & contents["test"]
    assert not contents["val"] & contents["test"]


@pytest.mark.parametrize("name", NAMES)
def test_targets_are_whole(generator, name):
    for example in generator(name, train=100).examples("train"):
        target = example.target
        assert target is not None
        assert example.attended in example.inputs
        assert np.isfinite(target.weights).all()
        assert (target.weights >= 0).all()
        assert target.weights[target.query_mask].any(axis=1).all()
        assert not target.weights[~target.query_mask].any()
        assert not target.weights[:, ~target.key_mask].any()


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        *((name, {}) for name in NAMES),
        *(("canvas", {"task_view": view}) for view in ("locate", "segment", "attend")),
    ],
)
def test_examples_are_the_same_when_read_from_disk(generator, tmp_path, name, changes):
    made = list(generator(name, train=10, **changes).examples("train"))
    store = Store(tmp_path)
    assert store.write("train", made) == 10
    for before, after in zip(made, Stored(store.folder, "train"), strict=True):
        assert content(before) == content(after)
        np.testing.assert_array_equal(before.answer, after.answer)
        assert before.meta == after.meta
        np.testing.assert_array_equal(before.target.weights, after.target.weights)
        np.testing.assert_array_equal(before.target.query_mask, after.target.query_mask)


@pytest.mark.parametrize("name", NAMES)
def test_the_yaml_begins_with_its_command(name):
    first = (CONF / f"{name}.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith(f"# python train.py dataset={name}")


def test_contents_fall_into_the_splits_in_proportion():
    counts = {"train": 0, "val": 0, "test": 0}
    for number in range(20000):
        counts[split_of(str(number))] += 1
    assert counts["train"] == pytest.approx(16000, rel=0.03)
    assert counts["val"] == pytest.approx(2000, rel=0.1)
    assert counts["test"] == pytest.approx(2000, rel=0.1)
