"""Pictures somewhere on a canvas, among pieces of others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from attnlab.data.example import Example
from attnlab.datasets.readers.pictures import TOGETHER
from attnlab.errors import ConfigError, UserError
from tests.datasets.readers.media import dataset, write_idx

SPLITS = (
    "dataset.splits={train: {image: a.idx, label: b.idx}, val: 0.2, test: {image: a.idx, "
    "label: b.idx}}"
)
SIDE, CANVAS = 7, 20


def pictures(folder: Path, count: int = 30) -> np.ndarray:
    pixels = np.random.default_rng(0).integers(100, 256, (count, SIDE, SIDE))
    write_idx(folder / "a.idx", pixels)
    write_idx(folder / "b.idx", np.arange(count) % 10)
    return pixels


def read(folder: Path, *words: str, split: str = "test") -> list[Example]:
    given = ("dataset.canvas=[20,20]", "dataset.piece=3", SPLITS, *words)
    return list(dataset("cluttered_mnist", folder, *given).build().examples(split))


def where(example: Example) -> np.ndarray:
    assert example.target is not None
    return example.target.weights.reshape(CANVAS, CANVAS) > 0


def test_each_picture_is_whole_and_gold_says_where(tmp_path: Path) -> None:
    pixels = pictures(tmp_path)
    found = read(tmp_path, "dataset.pieces=0")
    assert len({tuple(np.argwhere(where(each))[0]) for each in found}) > 10, "places differ"
    for example, picture in zip(found, pixels, strict=True):
        image = example.inputs["image"]
        assert isinstance(image, np.ndarray) and image.shape == (1, CANVAS, CANVAS)
        assert np.array_equal(image[0][where(example)].reshape(SIDE, SIDE), picture)
        assert not image[0][~where(example)].any()
        assert image.dtype == np.uint8


def test_pieces_are_of_pictures_of_the_same_split_and_lie_beneath(tmp_path: Path) -> None:
    pixels = pictures(tmp_path)
    for example, picture in zip(read(tmp_path, "dataset.pieces=4"), pixels, strict=True):
        image = np.asarray(example.inputs["image"])[0]
        outside = image[~where(example)]
        assert 0 < (outside > 0).sum() <= 4 * 9
        assert (image[where(example)].reshape(SIDE, SIDE) >= picture).all()
    train = read(tmp_path, "dataset.pieces=4", split="train")
    held_out = read(tmp_path, "dataset.pieces=4", split="val")
    assert len(train) + len(held_out) == len(pixels)


def test_what_is_drawn_depends_on_seed_split_and_place_alone(tmp_path: Path) -> None:
    pictures(tmp_path, TOGETHER + 5)
    first, again = read(tmp_path), read(tmp_path)
    other = read(tmp_path, "dataset.seed=1")
    for one, same in zip(first, again, strict=True):
        assert np.array_equal(one.inputs["image"], same.inputs["image"])  # type: ignore[arg-type]
    different = [
        not np.array_equal(a.inputs["image"], b.inputs["image"])  # type: ignore[arg-type]
        for a, b in zip(first, other, strict=True)
    ]
    assert np.mean(different) > 0.9
    assert not np.array_equal(where(first[0]), where(first[TOGETHER]))


def test_what_does_not_go_is_refused(tmp_path: Path) -> None:
    pictures(tmp_path)
    with pytest.raises(UserError) as refused:
        read(tmp_path, "dataset.canvas=[5,20]")
    assert str(refused.value) == (
        "dataset.canvas: [5, 20] is smaller than a picture, [7, 7]; try: dataset.canvas=[14, 14]"
    )
    with pytest.raises(ConfigError, match="has a label as its answer"):
        read(tmp_path, "dataset/answer=boxes")
