"""Canvases: boxes, masks and fixations must fit the digits that are really in the picture."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from attnlab.data.example import Example
from attnlab.datasets.generators import canvas
from attnlab.datasets.generators.canvas import INK, digit_images
from attnlab.errors import UserError

CLEAN = {"clutter": 0, "noise": 0.0, "train": 100}


def lit(example: Example) -> np.ndarray:
    """Pixels that belong to a digit, in a picture without clutter and noise."""
    return example.inputs["image"][0] >= INK


def grid(example: Example, row: int = 0) -> np.ndarray:
    return example.target.weights[row].reshape(example.inputs["image"].shape[1:]) > 0


def boxes(example: Example) -> list[tuple[int, slice]]:
    return [
        (int(label), np.s_[int(top) : int(bottom), int(left) : int(right)])
        for label, left, top, right, bottom in example.meta["digits"]
    ]


def test_no_digit_image_serves_two_splits():
    splits = [digit_images("train"), digit_images("val"), digit_images("test")]
    assert sum(len(images) for split in splits for images in split) == 1797
    for label in range(10):
        seen = [{image.tobytes() for image in split[label]} for split in splits]
        assert not (seen[0] & seen[1] or seen[0] & seen[2] or seen[1] & seen[2])
        assert all(len(images) > 8 for images in seen)


def test_classify_asks_for_the_highest_digit_and_marks_its_box(generator):
    for example in generator("canvas", **CLEAN).examples("train"):
        label, box = max(boxes(example))
        assert example.answer == str(label)
        marked = grid(example)
        assert marked[box].all()
        assert marked.sum() == marked[box].size


def test_boxes_are_tight_around_the_ink(generator):
    for example in generator("canvas", task_view="locate", **CLEAN).examples("train"):
        rest = lit(example)
        for row, (label, box) in enumerate(boxes(example)):
            ink = rest[box]
            edges = (ink[0], ink[-1], ink[:, 0], ink[:, -1])
            assert all(edge.any() for edge in edges)
            assert (grid(example, row)[box]).all()
            rest[box] = False
            assert example.answer[row, 4] == label
        assert not rest.any()
        assert example.answer.shape == (len(example.meta["digits"]), 5)
        assert example.answer.dtype == np.float32
        assert len(example.target.weights) == len(example.answer)


def test_segments_are_the_ink_with_its_digit(generator):
    for example in generator("canvas", task_view="segment", **CLEAN).examples("train"):
        np.testing.assert_array_equal(example.answer > 0, lit(example))
        np.testing.assert_array_equal(grid(example), lit(example))
        for label, box in boxes(example):
            assert set(np.unique(example.answer[box])) <= {0, label + 1}


def test_observers_look_at_the_ink_of_every_digit(generator):
    made = generator("canvas", task_view="attend", observers=7, **CLEAN)
    for example in made.examples("train"):
        assert example.answer is None
        target = example.target
        assert target.kind == "soft"
        points = target.points.reshape(32, 32)
        assert not points[~lit(example)].any()
        assert [points[box].sum() for _, box in boxes(example)] == [7] * len(boxes(example))
        assert target.weights.sum() == pytest.approx(1, abs=1e-5)
        assert len(target.annotators) == 7


def test_clutter_is_strewn_between_the_digits_only(generator):
    clean = generator("canvas", **CLEAN).examples("train")
    cluttered = generator("canvas", **CLEAN | {"clutter": 12}).examples("train")
    strewn = 0
    for bare, full in zip(clean, cluttered, strict=True):
        for _, box in boxes(bare):
            assert np.array_equal(bare.inputs["image"][0][box], full.inputs["image"][0][box])
        strewn += int((full.inputs["image"] != bare.inputs["image"]).sum())
    assert strewn > 100 * 50


@pytest.mark.parametrize("noise", [0.02, 0.1])
def test_noise_has_the_strength_asked_for(generator, noise):
    changes = CLEAN | {"noise": noise, "min_digits": 1, "max_digits": 1}
    (example,) = generator("canvas", **changes | {"train": 1, "size": 128}).examples("train")
    image = example.inputs["image"][0]
    # Below zero is cut off, so the background's upper half tells the strength.
    assert np.sqrt((image[image > 0][:4000] ** 2).mean()) == pytest.approx(noise, rel=0.35)


def test_the_digits_can_be_read(generator):
    """A nearest neighbour that knows the training crops reads those of the test split."""
    made = generator("canvas", **CLEAN | {"test": 100, "train": 600})

    def crops(split) -> tuple[np.ndarray, np.ndarray]:
        found, labels = [], []
        for example in made.examples(split):
            for label, box in boxes(example):
                crop = np.zeros((8, 8), np.float32)
                ink = example.inputs["image"][0][box]
                crop[: ink.shape[0], : ink.shape[1]] = ink
                found.append(crop.ravel())
                labels.append(label)
        return np.stack(found), np.array(labels)

    known, known_labels = crops("train")
    asked, asked_labels = crops("test")
    distances = ((asked[:, None] - known[None]) ** 2).sum(2)
    assert (known_labels[distances.argmin(1)] == asked_labels).mean() > 0.9


def test_too_many_digits_are_refused(generator):
    with pytest.raises(ValidationError, match="10 digits need a canvas of 51 pixels or more"):
        generator("canvas", max_digits=10)
    (example,) = generator("canvas", train=1, max_digits=10, min_digits=10, size=51).examples(
        "train"
    )
    assert len(example.meta["digits"]) == 10


WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def square(left: float, top: float, right: float, bottom: float) -> list[str]:
    """The third of 32 pixels in which the middle of a box lies, down and across."""
    across, down = (left + right) / 2, (top + bottom) / 2
    assert all(abs(middle - edge) >= 1 for middle in (across, down) for edge in (32 / 3, 64 / 3))
    return [
        ("top", "middle", "bottom")[int(3 * down / 32)],
        ("left", "centre", "right")[int(3 * across / 32)],
    ]


def test_captions_say_what_stands_where_in_reading_order(generator):
    seen = set()
    for example in generator("canvas", task_view="caption", **CLEAN).examples("train"):
        parts = " ".join(example.answer).split(" and ")
        described = [part.split(" at ") for part in parts]
        digits = {WORDS[label]: square(*box) for label, *box in example.meta["digits"]}
        assert {name: place.split() for name, place in described} == digits
        order = [("top", "middle", "bottom").index(p.split()[0]) for _, p in described]
        assert order == sorted(order)
        assert len({place for _, place in described}) == len(described)
        seen.add(len(described))
    assert seen == {1, 2, 3}


def test_words_that_name_or_place_a_digit_have_its_box(generator):
    for example in generator("canvas", task_view="caption", **CLEAN).examples("train"):
        by_name = {WORDS[label]: box for label, box in boxes(example)}
        current = None
        for row, word in enumerate(example.answer):
            current = by_name.get(word, current)
            assert example.target.query_mask[row] == (word not in ("at", "and"))
            if example.target.query_mask[row]:
                marked = grid(example, row)
                assert marked[current].all() and marked.sum() == marked[current].size


def test_phrases_point_to_the_digit_they_speak_of(generator):
    ways = set()
    for example in generator("canvas", task_view="point", **CLEAN).examples("train"):
        phrase = example.inputs["phrase"]
        (pointed,) = [
            label
            for label, *box in example.meta["digits"]
            if phrase in (["the", WORDS[label]], ["the", "digit", "at", *square(*box)])
        ]
        (box,) = [box for label, box in boxes(example) if label == pointed]
        assert grid(example)[box].all() and grid(example).sum() == grid(example)[box].size
        assert example.answer is None
        ways.add(len(phrase))
    assert ways == {2, 5}


def test_more_digits_than_words_can_tell_apart(generator, monkeypatch):
    monkeypatch.setattr(canvas, "MOST_DRAWS", 3)
    crowded = {"size": 60, "min_digits": 10, "max_digits": 10}
    with pytest.raises(UserError) as caught:
        generator("canvas", task_view="caption", **crowded).example("train", 0)
    line = "dataset.max_digits: no clear words about 10 digits on one canvas; try fewer"
    assert str(caught.value) == line
