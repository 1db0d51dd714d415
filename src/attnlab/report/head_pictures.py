"""Every layer and head of an example in one picture: a row for each layer, a column for each head.

A head is as dark as its own greatest weight allows: the picture says where each one looks, not how
sharply.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from attnlab.report.encoding import unpack
from attnlab.report.examples import ShownExample
from attnlab.report.head_maps import Heads

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EDGE = "#cccccc"
WIDE = 1.5  # inches of one head
LOW, HIGH = 0.3, 2.2  # inches between which it is high

Array = npt.NDArray[np.float64]


def draw_head_grids(
    examples: Sequence[ShownExample], heads: Sequence[Heads], folder: Path
) -> list[Path]:
    """A picture of each example whose model has more maps than the one that is judged."""
    folder.mkdir(exist_ok=True)
    paths: list[Path] = []
    for example, sites in zip(examples, heads, strict=False):  # few have their heads kept
        if sum(packed["shape"][0] for packed in sites.values()) > 1:
            paths.append(folder / f"{example.id}-heads.png")
            draw_heads(example, sites).savefig(paths[-1], dpi=110)
    return paths


def draw_heads(example: ShownExample, sites: Heads) -> Figure:
    """Sites down, heads across."""
    from matplotlib.figure import Figure

    maps = {site: _laid_out(unpack(packed), example.grid) for site, packed in sites.items()}
    heights = [_height(each) for each in maps.values()]
    columns = max(len(each) for each in maps.values())
    figure = Figure(figsize=(1.3 + (WIDE + 0.1) * columns, 0.4 + sum(heights) + 0.25 * len(maps)))
    grid = figure.subplots(len(maps), columns, squeeze=False, height_ratios=heights)
    for axes, (site, each) in zip(grid, maps.items(), strict=True):
        axes[0].set_ylabel(site, rotation=0, ha="right", va="center", fontsize=9)
        for head, place in enumerate(axes):
            place.set(xticks=[], yticks=[])
            for spine in place.spines.values():
                spine.set_color(EDGE)
            if head >= len(each):
                place.set_visible(False)
                continue
            place.imshow(each[head], cmap="Blues", vmin=0, aspect="auto", interpolation="nearest")
            place.set_title(f"head {head + 1}", fontsize=8, color="#555555", pad=3)
    figure.tight_layout()
    return figure


def _laid_out(weights: Array, grid: Sequence[int] | None) -> Array:
    """A single query's weights on the cells of a picture, as the picture has them."""
    heads, queries, keys = weights.shape
    if grid is not None and queries == 1 and keys == grid[0] * grid[1]:
        return weights.reshape(heads, *grid)
    return weights


def _height(weights: Array) -> float:
    rows, columns = weights.shape[1:]
    return min(max(WIDE * rows / max(columns, 1), LOW), HIGH)
