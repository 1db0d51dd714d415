"""Where observers looked at a picture, as a blurred map with its points."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np

from attnlab.data.target import AttentionTarget
from attnlab.datasets.readers.row import BadRowError
from attnlab.datasets.targets.images import fixation_target


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
