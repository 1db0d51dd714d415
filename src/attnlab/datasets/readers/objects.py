"""Objects and fixations marked in a picture: as answers, or as gold maps."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from attnlab.data.target import AttentionTarget
from attnlab.datasets.readers.files import BadRowError
from attnlab.datasets.targets import box_target, fixation_target, mask_target

Size = tuple[int, int]
Answered = tuple[npt.NDArray[np.float32], AttentionTarget | None]


class ObjectsColumn(ABC):
    """An answer that has its place in the picture, and so says where to look for it."""

    def __init__(self, *, column: str) -> None:
        self.column = column

    @property
    def columns(self) -> list[str]:
        """The columns that every row needs."""
        return [self.column]

    @abstractmethod
    def read(self, cell: Any, size: Size, stored: Size) -> Answered:
        """`size` is height and width as prepared, `stored` width and height of what is marked."""


class BoxesColumn(ObjectsColumn):
    """A box for each object that is no crowd."""

    def read(self, cell: Any, size: Size, stored: Size) -> Answered:
        single = [each for each in _objects(cell, self.column) if not each["crowd"]]
        rows = [[*box, each["category"]] for each, box in zip(single, _boxes(single), strict=True)]
        boxes = np.array(rows, np.float32).reshape(-1, 5)
        boxes[:, :4] *= _scale(size, stored)
        return boxes, box_target([[tuple(box[:4])] for box in boxes], *size) if rows else None


class MasksColumn(ObjectsColumn):
    """The category of each pixel, 0 where there is none; small objects lie over large ones."""

    def read(self, cell: Any, size: Size, stored: Size) -> Answered:
        classes = np.zeros(size, np.float32)
        objects = _objects(cell, self.column)
        if any(each["category"] < 1 for each in objects):
            raise BadRowError("category 0 would be the background; count categories from 1")
        filled = [(_filled(each, size, stored), each["category"]) for each in objects]
        for mask, category in sorted(filled, key=lambda pair: -pair[0].sum()):
            classes[mask] = category
        return classes, mask_target((classes > 0)[None]) if classes.any() else None


class MarkedBoxes:
    """Where to look: whatever lies in one of the boxes."""

    def __init__(self, *, column: str) -> None:
        self.column = column

    def read(self, cell: Any, size: Size, stored: Size) -> AttentionTarget:
        value = json.loads(cell) if isinstance(cell, str) else cell
        try:
            boxes = np.asarray(value, np.float64).reshape(-1, 4) * _scale(size, stored)
        except (TypeError, ValueError):
            raise BadRowError(f"'{self.column}' is no list of [left, top, right, bottom]") from None
        target = box_target([[tuple(box) for box in boxes.tolist()]], *size)
        if not target.weights.any():
            raise BadRowError(f"'{self.column}' has no box that holds a pixel of the picture")
        return target


def _objects(cell: Any, column: str) -> Sequence[Any]:
    if not isinstance(cell, list) or not all(isinstance(each, dict) for each in cell):
        raise BadRowError(f"'{column}' is no list of objects, such as dataset/reader=coco gives")
    return cell


def _boxes(objects: Sequence[Any]) -> list[list[float]]:
    return [each["box"] for each in objects]


def _scale(size: Size, stored: Size) -> npt.NDArray[np.float64]:
    """From pixels as stored to those as prepared, for left, top, right and bottom."""
    return np.tile([size[1] / stored[0], size[0] / stored[1]], 2)


def _filled(each: Any, size: Size, stored: Size) -> npt.NDArray[np.bool_]:
    """The pixels of one object, height x width as prepared."""
    outline = each["outline"]
    if isinstance(outline, dict):
        runs = Image.fromarray(run_lengths(outline).astype(np.uint8))
        return np.asarray(runs.resize((size[1], size[0]), Image.Resampling.NEAREST)) > 0
    mask = np.zeros(size, bool)
    for polygon in outline or [_corners(each["box"])]:
        points = np.asarray(polygon, np.float64)
        if points.size < 6 or points.size % 2:
            raise BadRowError(f"a polygon of {points.size} numbers; it takes 3 points or more")
        mask |= within(points.reshape(-1, 2) * _scale(size, stored)[:2], size)
    return mask


def within(polygon: npt.NDArray[np.float64], size: Size) -> npt.NDArray[np.bool_]:
    """The pixels whose middle lies within a polygon (corners x 2: x, y): height x width.

    A ray to the right leaves it an odd number of times.
    """
    across, down = np.arange(size[1]) + 0.5, (np.arange(size[0]) + 0.5)[:, None]
    inside = np.zeros(size, bool)
    for (x, y), (next_x, next_y) in zip(polygon, np.roll(polygon, -1, 0), strict=True):
        passed = (y <= down) != (next_y <= down)  # height x 1: whether the edge goes by this row
        if passed.any():
            inside ^= passed & (across < x + (down - y) * (next_x - x) / (next_y - y))
    return inside


def _corners(box: Sequence[float]) -> list[float]:
    left, top, right, bottom = box
    return [left, top, right, top, right, bottom, left, bottom]


def run_lengths(outline: Any) -> npt.NDArray[np.bool_]:
    """COCO's run lengths, column by column, the first run outside: height x width."""
    counts, (height, width) = outline["counts"], outline["size"]
    if not isinstance(counts, list):
        raise BadRowError(
            "its run lengths are compressed; write them as a list of numbers "
            "(pycocotools: mask.decode, then counts of runs)"
        )
    if sum(counts) != height * width:
        raise BadRowError(f"run lengths of {sum(counts)} pixels for {height} x {width}")
    inside = np.arange(len(counts)) % 2 == 1
    return np.repeat(inside, counts).reshape(width, height).T


class Fixations:
    """Observers' fixations, in pixels of a frame, over the picture as it is prepared."""

    def __init__(self, *, column: str, frame: tuple[int, int] | None, blur: float) -> None:
        self.column, self.frame, self.blur = column, frame, blur

    def read(self, cell: Any, size: tuple[int, int], stored: tuple[int, int]) -> AttentionTarget:
        """`size` is height and width of the picture as prepared, `stored` its first width, height.

        Maps of single observers are left out: at the size of pictures they would fill a disk.
        """
        (height, width), frame = size, np.array(self.frame or stored, np.float64)
        observers = json.loads(cell) if isinstance(cell, str) else cell
        points = [self._points(each) * (width, height) / frame for each in observers]
        if not any(len(each) for each in points):
            raise BadRowError(f"'{self.column}' has no fixation")
        target = fixation_target(points, height, width, self.blur * width)
        if not target.query_mask.any():
            raise BadRowError(f"'{self.column}' has no fixation within the picture")
        return replace(target, annotators=())

    def _points(self, observer: Any) -> np.ndarray:
        """points x 2."""
        try:
            numbers = np.asarray([each[:2] for each in observer], np.float64).reshape(-1, 2)
        except (TypeError, ValueError, IndexError):
            raise BadRowError(f"'{self.column}' is no list of [x, y] for each observer") from None
        return numbers
