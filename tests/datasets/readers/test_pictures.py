"""Pictures from folders, archives, arrays and lists, and where people looked at them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from attnlab.data.example import Example
from attnlab.data.prepared import prepare
from attnlab.datasets.readers.parallel import read_idx
from attnlab.errors import ConfigError, UserError
from tests.datasets.readers.files import shared, write
from tests.datasets.readers.media import dataset, save_picture, write_idx
from tests.forms import load_fitting

ONE = "dataset.splits={train: '*/*.png', val: '*/*.png', test: '*/*.png'}"


def random_pictures(count: int, height: int = 6, width: int = 8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, height, width), dtype=np.uint8)


def folders(folder: Path, count: int = 3) -> np.ndarray:
    pixels = random_pictures(2 * count)
    for i, each in enumerate(pixels):
        save_picture(folder / ("cat" if i % 2 else "dog") / f"{i}.png", each)
    return pixels


def read(given: object, split: str = "train") -> list[Example]:
    return list(given.build().examples(split))  # type: ignore[attr-defined]


def test_a_folder_for_each_label(tmp_path: Path) -> None:
    pixels = folders(tmp_path)
    given = dataset("pictures", tmp_path, ONE, "dataset.size=null", "dataset.colour=grey")
    found = read(given)
    assert [(e.answer, e.meta["row"]) for e in found[:2]] == [
        ("cat", "cat/1.png row 1"),
        ("cat", "cat/3.png row 2"),
    ]
    assert found[0].inputs["image"].dtype == np.uint8  # type: ignore[union-attr]
    np.testing.assert_array_equal(found[0].inputs["image"], pixels[1][None])
    smaller = read(dataset("pictures", tmp_path, ONE, "dataset.size=[3,4]"))
    assert smaller[0].inputs["image"].shape == (3, 3, 4)  # type: ignore[union-attr]


def test_bytes_stay_bytes_on_disk_and_come_back_as_they_were(tmp_path: Path) -> None:
    folders(tmp_path)
    given = dataset("pictures", tmp_path, ONE, "dataset.size=null", "dataset.colour=grey")
    prepared = prepare(given, tmp_path / "prepared")
    assert (tmp_path / "prepared" / "train.image.npy").stat().st_size < 6 * 48 + 200
    for kept, made in zip(prepared.examples("train"), read(given), strict=True):
        np.testing.assert_array_equal(kept.inputs["image"], made.inputs["image"])
        assert prepared.codec.encode(kept, 0).inputs["image"].dtype.is_floating_point is False


def test_a_list_of_files_and_their_classes(tmp_path: Path) -> None:
    folders(tmp_path / "pictures")
    write(tmp_path / "list.csv", "file,class", "dog/0.png,d", "cat/1.png,c", "cat/9.png,c")
    words = ["dataset/reader=csv", "dataset.answer.column=class", "dataset.files=pictures"]
    splits = "dataset.splits={train: list.csv, val: list.csv, test: list.csv}"
    given = dataset("pictures", tmp_path, *words, splits, "dataset.bad_rows=0.5")
    source = given.build()
    assert [e.answer for e in source.examples("train")] == ["d", "c"]
    assert source.notes()["train"] == (
        "1 of 3 rows cannot be used (list.csv row 4: no document 'cat/9.png' in pictures)"
    )


def test_arrays_of_pictures_and_labels_side_by_side(tmp_path: Path) -> None:
    pixels = random_pictures(4)
    write_idx(tmp_path / "images", pixels)
    write_idx(tmp_path / "labels", np.array([3, 1, 4, 1]))
    where = "{image: images, label: labels}"
    words = ["dataset/reader=idx", "dataset.column=image", "dataset.size=null"]
    splits = f"dataset.splits={{train: {where}, val: {where}, test: {where}}}"
    found = read(dataset("pictures", tmp_path, *words, splits, "dataset.colour=grey"))
    assert [e.answer for e in found] == ["3", "1", "4", "1"]
    np.testing.assert_array_equal(found[2].inputs["image"], pixels[2][None])


def test_what_is_no_idx_file_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"not such a file")
    with pytest.raises(UserError) as caught:
        read_idx(tmp_path / "a")
    expected = f"{tmp_path}/a: not in IDX format (it has to begin with 0 0 TYPE DIMENSIONS)"
    assert str(caught.value) == expected
    write_idx(tmp_path / "b", random_pictures(2))
    (tmp_path / "b").write_bytes((tmp_path / "b").read_bytes()[:-5])
    with pytest.raises(UserError, match=r"b: damaged \(91 bytes of numbers, not 96\)$"):
        read_idx(tmp_path / "b")
    write_idx(tmp_path / "c", np.arange(3))
    where = "{image: b, label: c}"
    write_idx(tmp_path / "b", random_pictures(2))
    splits = f"dataset.splits={{train: {where}, val: {where}, test: {where}}}"
    given = dataset("pictures", tmp_path, "dataset/reader=idx", "dataset.column=image", splits)
    with pytest.raises(UserError) as caught:
        read(given)
    assert str(caught.value) == (
        "dataset.splits.train: files of different lengths: b has 2, c has 3"
    )


def test_settings_that_do_not_fit_are_told_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="allowed: label, number, numbers, boxes, masks, none"):
        dataset("pictures", tmp_path, "dataset/answer=text")
    with pytest.raises(ConfigError, match="neither answer nor gold: nothing to learn"):
        dataset("pictures", tmp_path, "dataset/answer=none")
    with pytest.raises(ConfigError, match="reader 'idx' takes a file for each column"):
        dataset("pictures", tmp_path, "dataset/reader=idx")
    with pytest.raises(UserError) as caught:
        read(dataset("pictures", tmp_path, ONE))
    assert str(caught.value) == f"dataset.splits.train: no file in {tmp_path} fits '*/*.png'"


def test_fixations_become_a_blurred_map_over_the_picture_as_prepared(tmp_path: Path) -> None:
    folders(tmp_path, count=1)
    looked = {
        "dog/0.png": [[[400, 300, 120], [700, 599, 90]], [[410, 310, 200]]],
        "cat/1.png": [[], [[-5, 20, 100]]],
    }
    (tmp_path / "looked.json").write_text(json.dumps(looked))
    words = ["dataset/reader=mapping", "dataset/answer=none", "dataset.gold.frame=[800,600]"]
    words += ["dataset/picture_gold@dataset.gold=fixations", "dataset.size=[12,16]"]
    splits = "dataset.splits={train: looked.json, val: looked.json, test: looked.json}"
    given = dataset("pictures", tmp_path, *words, splits, "task=attend", "dataset.bad_rows=0.5")
    source = given.build()
    (example,) = source.examples("train")
    target = example.target
    assert target is not None and target.points is not None
    assert target.weights.shape == (1, 12 * 16)
    assert target.weights.sum() == pytest.approx(1)
    points = target.points.reshape(12, 16)
    assert points[6, 8] == 2 and points[11, 14] == 1 and points.sum() == 3
    assert target.weights.argmax() == 6 * 16 + 8
    assert "'fixations' has no fixation within the picture" in source.notes()["train"]


def test_real_pictures() -> None:
    given = load_fitting(
        ["experiment=mnist", f"paths.data={shared('mnist')}", "dataset.limit=200"]
    )[0]
    source = given.dataset.build()
    sizes = {split: len(list(source.examples(split))) for split in ("train", "val", "test")}
    assert sizes["train"] + sizes["val"] == 200 and sizes["test"] == 200
    looked = load_fitting(["experiment=osie", f"paths.data={shared('osie')}", "dataset.limit=10"])[
        0
    ]
    found = list(looked.dataset.build().examples("train"))
    assert found[0].inputs["image"].shape == (3, 120, 160)  # type: ignore[union-attr]
    assert all(e.target is not None and e.target.points is not None for e in found)
