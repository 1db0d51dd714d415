"""COCO's instances.json as boxes, masks, and labels with boxes to look into."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attnlab.data.example import Example
from attnlab.datasets.readers.objects import run_lengths, within
from attnlab.errors import ConfigError, UserError
from tests.datasets.readers.media import dataset, save_picture

HEIGHT, WIDTH = 8, 12
SPLITS = "dataset.splits={train: boxes.json, val: boxes.json, test: boxes.json}"
READ = ("dataset/reader=coco", SPLITS, f"dataset.size=[{HEIGHT},{WIDTH}]", "dataset.files=seen")
LOCATED = ("dataset/answer=boxes", "task=locate")
MASKED = ("dataset/answer=masks", "task=segment")

CATEGORIES = [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}]


def marked(number: int, image: int, category: int, box: list[float], **more: Any) -> dict:
    return {"id": number, "image_id": image, "category_id": category, "bbox": box, **more}


def runs(mask: np.ndarray) -> dict[str, Any]:
    """Run lengths column by column, counted one by one."""
    counts, inside = [0], False
    for value in mask.T.ravel():
        if value != inside:
            counts.append(0)
            inside = not inside
        counts[-1] += 1
    return {"counts": counts, "size": list(mask.shape)}


def corner() -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[5:8, 8:12] = True
    return mask


def written(folder: Path, annotations: list[dict], images: int = 2, **parts: Any) -> Path:
    listed = [{"id": 10 + i, "file_name": f"{i}.png"} for i in range(images)]
    for each in listed:
        pixels = np.random.default_rng(each["id"]).integers(0, 256, (HEIGHT, WIDTH, 3))
        save_picture(folder / "seen" / each["file_name"], pixels)
    content = {"images": listed, "annotations": annotations, "categories": CATEGORIES} | parts
    (folder / "boxes.json").write_text(json.dumps(content))
    return folder


def two_objects(folder: Path) -> Path:
    triangle = [0, 0, 5, 0, 0, 5]
    return written(
        folder,
        [
            marked(1, 10, 3, [0, 0, 4, 4], segmentation=[triangle]),
            marked(2, 10, 7, [8, 5, 4, 3], segmentation=runs(corner())),
            marked(3, 10, 7, [0, 0, 12, 1], segmentation=runs(~corner()), iscrowd=1),
        ],
    )


def read(folder: Path, *words: str) -> list[Example]:
    return list(dataset("pictures", folder, *READ, *words).build().examples("train"))


def test_boxes_are_scaled_with_the_picture_and_are_its_gold_maps(tmp_path: Path) -> None:
    two_objects(tmp_path)
    whole, empty = read(tmp_path, *LOCATED)
    assert whole.answer.tolist() == [[0, 0, 4, 4, 3], [8, 5, 12, 8, 7]]  # type: ignore[union-attr]
    gold = whole.target.weights.reshape(2, HEIGHT, WIDTH)  # type: ignore[union-attr]
    assert gold[0].nonzero()[0].max() == 3 and np.array_equal(gold[1] > 0, corner())
    assert empty.answer.shape == (0, 5) and empty.target is None  # type: ignore[union-attr]
    half, _ = read(tmp_path, *LOCATED, "dataset.size=[4,6]")
    assert half.answer[1].tolist() == [4, 2.5, 6, 4, 7]  # type: ignore[index]


def test_masks_are_polygons_and_run_lengths_the_small_ones_on_top(tmp_path: Path) -> None:
    two_objects(tmp_path)
    whole, empty = read(tmp_path, *MASKED)
    expected = np.full((HEIGHT, WIDTH), 7)
    for row in range(4):
        expected[row, : 4 - row] = 3
    assert np.array_equal(whole.answer, expected)  # type: ignore[arg-type]
    assert not empty.answer.any() and empty.target is None  # type: ignore[union-attr]
    half, _ = read(tmp_path, *MASKED, "dataset.size=[4,6]")
    assert half.answer.shape == (4, 6) and half.answer[0, 0] == 3  # type: ignore[union-attr,index]


def test_run_lengths_go_down_the_columns() -> None:
    assert np.array_equal(run_lengths(runs(corner())), corner())


def test_a_polygon_holds_the_pixels_whose_middle_it_holds() -> None:
    from matplotlib.path import Path as Outline

    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:20, :30] + 0.5
    middles = np.stack([columns.ravel(), rows.ravel()], -1)
    for corners in (3, 4, 9):  # also such as cross themselves
        polygon = random.uniform(-3, 31, (corners, 2))
        expected = Outline([*polygon, polygon[0]]).contains_points(middles).reshape(20, 30)
        if corners < 5:
            assert np.array_equal(within(polygon, (20, 30)), expected)
        else:  # matplotlib goes by the winding number there
            assert not (within(polygon, (20, 30)) & ~expected).any()


def test_the_label_is_what_covers_most_and_its_boxes_say_where(tmp_path: Path) -> None:
    two_objects(tmp_path)
    first, second = (
        read(
            tmp_path,
            "dataset/picture_gold@dataset.gold=boxes",
            "dataset.bad_rows=1",
            "dataset.limit=1",
        ),
        read(tmp_path, *LOCATED),
    )
    assert [each.answer for each in first] == ["dog"], "24 pixels of dogs, 16 of cats"
    looked = first[0].target.weights.reshape(HEIGHT, WIDTH) > 0  # type: ignore[union-attr]
    assert looked[0].all() and looked[5:, 8:].all() and looked.sum() == 24
    assert len(second) == 2


BAD = [
    ([marked(1, 10, 5, [0, 0, 1, 1])], LOCATED, "annotation 1: category 5 is not among"),
    ([marked(4, 10, 3, [0, 0, 0, 1])], LOCATED, "annotation 4: bbox [0, 0, 0, 1] is no [left, top"),
    ([marked(1, 10, 3, [0, 0, 1, 1], segmentation=[[1, 2]])], MASKED, "a polygon of 2 numbers"),
    (
        [marked(1, 10, 3, [0, 0, 1, 1], segmentation={"counts": "a", "size": [8, 12]})],
        MASKED,
        "its run lengths are compressed",
    ),
    (
        [marked(1, 10, 3, [0, 0, 1, 1], segmentation={"counts": [5], "size": [8, 12]})],
        MASKED,
        "run lengths of 5 pixels for 8 x 12",
    ),
]


@pytest.mark.parametrize(("annotations", "task", "says"), BAD)
def test_bad_marks_are_bad_rows(
    tmp_path: Path, annotations: list[dict], task: tuple[str, ...], says: str
) -> None:
    written(tmp_path, annotations)
    with pytest.raises(UserError) as refused:
        read(tmp_path, *task)
    assert "1 of 2 rows cannot be used (boxes.json row 1: " + says in str(refused.value)


def test_files_that_are_something_else_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, []) / "boxes.json"
    path.write_text('{"images": []}')
    with pytest.raises(UserError) as refused:
        read(tmp_path, *LOCATED)
    assert str(refused.value) == (
        f"{path}: not as COCO's instances.json: it has no 'annotations'; "
        "needed: images, annotations, categories"
    )
    written(tmp_path, [marked(1, 99, 3, [0, 0, 1, 1])])
    with pytest.raises(UserError) as refused:
        read(tmp_path, *LOCATED)
    assert str(refused.value) == (f"{path}: annotations of image 99, which is not among 'images'")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((*LOCATED, "dataset/picture_gold@dataset.gold=boxes"), "is where to look as well"),
        (("dataset/answer=text",), "allowed: label, number, numbers, boxes, masks, none"),
    ],
)
def test_answers_that_do_not_go_with_pictures_are_refused(
    tmp_path: Path, words: tuple[str, ...], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        dataset("pictures", tmp_path, *READ, *words)


def test_objects_do_not_go_with_texts(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="answer 'boxes' goes with pictures"):
        dataset("files", tmp_path, "dataset/answer=boxes", "dataset.splits.train=a.csv")
