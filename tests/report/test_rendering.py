"""What pictures, masks and boxes look like in reports."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from attnlab.data.example import Example
from attnlab.report.examples import load_examples, save_examples
from attnlab.report.map_pictures import draw_map
from attnlab.report.rendering import (
    Bits,
    Regions,
    mask_address,
    pack,
    picture_address,
    pixels_at,
    unpack,
)
from tests.forms import fitted
from tests.report.reported import reported

DARK = np.zeros((1, 8, 8), np.float32)

weights = arrays(
    np.float64, array_shapes(min_dims=1, max_dims=3, max_side=6), elements=st.floats(0, 1)
)


def test_small_pictures_are_kept_as_they_are() -> None:
    colours = np.random.default_rng(0).integers(0, 256, (3, 10, 12), dtype=np.uint8)
    assert np.array_equal(pixels_at(picture_address(colours)), colours.transpose(1, 2, 0))
    grey = np.linspace(-1, 1, 12, dtype=np.float32).reshape(1, 3, 4)
    assert pixels_at(picture_address(grey))[[0, -1], [0, -1]].tolist() == [0, 255]


def test_photos_are_kept_light_and_no_longer_than_shown() -> None:
    across = np.linspace(0, 255, 800, dtype=np.uint8)
    photo = np.broadcast_to(across, (3, 600, 800))
    address = picture_address(photo)
    assert address.startswith("data:image/jpeg")
    shown = pixels_at(address)
    assert shown.shape == (240, 320, 3)
    assert abs(int(shown[100, 160, 0]) - 127) < 4
    assert len(address) < 20_000


def test_classes_have_colours_and_the_background_none() -> None:
    mask = pixels_at(mask_address(np.array([[0, 1], [2, 1]]), 3))
    assert mask[0, 0, 3] == 0
    assert mask[0, 1].tolist() == mask[1, 1].tolist() != mask[1, 0].tolist()


def test_boxes_that_nobody_would_believe_are_left_out() -> None:
    gold = Example("0", {"image": DARK}, np.array([[1, 2, 3, 4, 0]], np.float32), attended="image")
    codec = fitted([gold])
    found = Regions.of(np.array([[1, 2, 3, 4, 0, 0.7], [0, 0, 8, 8, 0, 0.001]]), codec)
    assert found is not None and found.boxes == [[1, 2, 3, 4, 0, 0.7]]
    label = fitted([Example("0", {"image": DARK}, "yes", attended="image")])
    assert Regions.of(np.array([0]), label) is None


@pytest.mark.parametrize(("view", "marks"), [("locate", 2), ("segment", 2), ("classify", 0)])
def test_gold_and_answer_stand_beside_the_picture(tmp_path: Path, view: str, marks: int) -> None:
    shown = reported("canvas", f"dataset.task_view={view}", count=2).examples
    save_examples(shown, tmp_path / "examples.json")
    (example, _) = load_examples(tmp_path / "examples.json")
    assert (example.gold_regions, example.predicted_regions) == (
        shown[0].gold_regions,
        shown[0].predicted_regions,
    )
    assert example.picture == shown[0].picture and example.picture is not None
    figure = draw_map(example)
    titles = [axes.get_title() for axes in figure.axes]
    assert len(titles) == 1 + marks + len(example.queries)
    assert titles[1 : 1 + marks] == ["gold", "answer"][:marks]
    if view == "locate":
        boxes = [len(axes.patches) for axes in figure.axes[1:3]]
        assert boxes == [len(example.queries)] * 2


@pytest.mark.parametrize("bits", [8, 16])
@given(weights)
def test_a_weight_is_off_by_half_a_step_at_most(bits: Bits, map_: np.ndarray):
    # weight = peak * (n / N)^2: half a step of n is peak * n / N^2, so peak / N at most.
    step = map_.max() / (2**bits - 1)
    assert np.allclose(unpack(pack(map_, bits)), map_, atol=1.01 * step + 1e-6)


def test_the_order_of_small_weights_is_kept():
    map_ = np.array([0.9, 0.002, 0.001, 0.0005, 0])
    found = unpack(pack(map_, bits=8))
    assert (np.diff(found) < 0).all()
    assert found[-1] == 0


def test_what_is_no_number_counts_as_zero():
    assert unpack(pack([[np.nan, 1.0], [-1.0, 0.5]])).tolist()[0] == [0, 1]
    assert unpack(pack(np.zeros((2, 0)))).shape == (2, 0)
