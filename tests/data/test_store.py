"""Examples on disk, and as tensors when they are asked for."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from attnlab.data.example import Example
from attnlab.data.loader import Items
from attnlab.data.store import Store, Stored
from attnlab.data.supervision import supervised
from attnlab.data.target import AttentionTarget
from attnlab.errors import UserError
from tests.forms import fitted

NAMES = ["grüße", "a", "b", "c", "d", "e", "f", "g", "h"]


def example(number: int) -> Example:
    """Texts of growing lengths, with a character of several bytes and a picture beside."""
    words = NAMES[: 1 + number % 9]
    picture = np.full((1, 2, 2), number, np.float32)
    weights = np.eye(1, len(words), number % len(words), dtype=np.float32)
    target = AttentionTarget(weights, np.ones(1, bool), np.ones(len(words), bool), "hard")
    return Example(str(number), {"text": words, "image": picture}, str(number % 3), target)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Store(tmp_path).write("train", (example(i) for i in range(20)))
    Store(tmp_path).write("val", (example(i) for i in range(20, 25)))
    return tmp_path


def assert_same(found: Example, wanted: Example) -> None:
    assert (found.id, found.answer) == (wanted.id, wanted.answer)
    assert found.inputs["text"] == wanted.inputs["text"]
    assert np.array_equal(found.inputs["image"], wanted.inputs["image"])  # type: ignore[arg-type]
    assert found.target and wanted.target
    assert np.array_equal(found.target.weights, wanted.target.weights)


def test_examples_are_read_in_any_order(folder: Path) -> None:
    stored = Stored(folder, "train", "val")
    assert len(stored) == 25
    for place in (24, 0, 19, 20, 7, -1):
        assert_same(stored[place], example(place % 25))
    for found, wanted in zip(stored, map(example, range(25)), strict=True):
        assert_same(found, wanted)
    assert [e.id for e in stored[:3]] == ["0", "1", "2"]
    assert [e.id for e in stored[18:22]] == ["18", "19", "20", "21"]
    with pytest.raises(IndexError):
        stored[25]


def test_another_process_reads_them_again(folder: Path) -> None:
    stored = Stored(folder, "train")
    assert_same(stored[3], example(3))
    sent = pickle.dumps(stored)
    assert len(sent) < 1000
    assert_same(pickle.loads(sent)[3], example(3))


def test_a_split_that_was_not_written_is_named(folder: Path) -> None:
    with pytest.raises(UserError) as raised:
        Stored(folder, "test")
    assert str(raised.value) == f"{folder}/test.jsonl: missing; try: attnlab prepare"


@pytest.mark.parametrize("kept", [0, 7, 100])
@pytest.mark.parametrize("targets", ["gold", "permuted"])
def test_items_are_the_same_however_many_are_kept(folder: Path, kept: int, targets: str) -> None:
    stored = Stored(folder, "train")
    codec = fitted(stored)
    changed = supervised(stored, 0.5, targets)  # type: ignore[arg-type]
    items = Items(changed, codec, kept)
    assert items.sizes.tolist() == [[1 + i % 9, 1] for i in range(20)]
    assert len(items.encoded) == min(kept, 20)
    again = Items(changed, codec, 0)
    for place in (13, 2, 19):
        one, other = items[place], again[place]
        assert one.index == other.index == place
        assert one.inputs["text"].tolist() == other.inputs["text"].tolist()
        assert one.target and other.target
        assert np.array_equal(one.target.weights, other.target.weights)
        assert np.array_equal(one.target.query_mask, other.target.query_mask)


@pytest.mark.parametrize("soft", [False, True])
def test_many_marks_take_a_bit_each_and_other_weights_stay_numbers(
    tmp_path: Path, soft: bool
) -> None:
    random = np.random.default_rng(0)
    marks = (random.random((2, 3601)) < 0.2).astype(np.float32)
    weights = marks * random.random(marks.shape, np.float32) if soft else marks
    target = AttentionTarget(weights, np.ones(2, bool), np.ones(3601, bool), "soft")
    written = Example("0", {"text": NAMES}, "x", target)
    Store(tmp_path).write("train", [written, written])
    for found in Stored(tmp_path, "train"):
        assert found.target is not None
        assert np.array_equal(found.target.weights, weights)
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert (size < 2 * 2 * 3601 / 8 + 2000) is not soft
