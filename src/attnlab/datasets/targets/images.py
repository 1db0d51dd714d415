"""Where to look in an image: boxes, masks, saliency maps, fixations. Keys are pixels row by row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from attnlab.data.target import AttentionTarget, Weights

Box = tuple[float, float, float, float]  # left, top, right, bottom, in pixels
Grid = npt.NDArray[np.float32]  # height x width
Kernel = npt.NDArray[np.float64]  # size x size


def box_target(rows: Sequence[Sequence[Box] | None], height: int, width: int) -> AttentionTarget:
    """The pixels whose middle lies in a box, one row of boxes for each query."""
    across, down = np.arange(width) + 0.5, (np.arange(height) + 0.5)[:, None]
    grids = []
    for boxes in rows:
        inside = np.zeros((height, width), bool)
        for left, top, right, bottom in boxes or ():
            inside |= (left <= across) & (across < right) & (top <= down) & (down < bottom)
        grids.append(inside)
    return _image_target(np.stack(grids), np.array([boxes is not None for boxes in rows]))


def mask_target(masks: npt.NDArray[np.bool_]) -> AttentionTarget:
    """Marked pixels: queries x height x width."""
    return _image_target(masks, np.ones(len(masks), bool))


def fixation_target(
    observers: Sequence[npt.ArrayLike], height: int, width: int, sigma: float
) -> AttentionTarget:
    """Fixations (n x 2: x, y in pixels of this grid) of each observer, blurred to a map.

    The points themselves are kept in `points`, because NSS and AUC-Judd need them; each
    observer's own map in `annotators`. Fixations beyond the image are left out.
    """
    counts = np.stack([count_points(points, height, width) for points in observers])
    kernels = gaussian(height, sigma), gaussian(width, sigma)
    blurred = np.stack([_blur(grid, *kernels) for grid in counts])  # observers x height x width
    together = blurred.sum(0).reshape(1, -1)
    looked = np.array([bool(counts.any())])
    return AttentionTarget(
        weights=together / max(float(together.sum()), 1e-12),
        query_mask=looked,
        key_mask=np.ones(height * width, bool),
        kind="soft",
        annotators=tuple(grid.reshape(1, -1) for grid in blurred),
        points=counts.sum(0).reshape(1, -1),
    )


def count_points(points: npt.ArrayLike, height: int, width: int) -> Grid:
    """How many points fall into each pixel: height x width."""
    places = np.floor(np.asarray(points, np.float64).reshape(-1, 2)).astype(np.int64)
    inside = ((places >= 0) & (places < (width, height))).all(1)
    grid = np.zeros((height, width), np.float32)
    np.add.at(grid, (places[inside, 1], places[inside, 0]), 1)
    return grid


def gaussian(size: int, sigma: float) -> Kernel:
    """Blur along one axis as a matrix (size x size); mass that would leave the edge is lost."""
    reach = np.arange(size)[:, None] - np.arange(size)
    longest = np.arange(-4 * size, 4 * size + 1)
    whole = np.exp(-(longest**2) / (2 * sigma**2)).sum()
    return np.exp(-(reach**2) / (2 * sigma**2)) / whole


def _blur(grid: Grid, down: Kernel, across: Kernel) -> Grid:
    return (down @ grid @ across).astype(np.float32)


def _image_target(
    grids: npt.NDArray[np.bool_], annotated: npt.NDArray[np.bool_]
) -> AttentionTarget:
    weights: Weights = grids.reshape(len(grids), -1).astype(np.float32)  # queries x pixels
    return AttentionTarget(weights, annotated, np.ones(weights.shape[1], bool))
