"""Pictures of maps: darkness is weight, a frame marks gold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from attnlab.report.examples import Rows, ShownExample, file_name
from attnlab.report.recorded_maps import Heads
from attnlab.report.rendering import Regions, pixels_at, unpack
from attnlab.tasks.locate.answer import CONFIDENT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GOLD = "#d1495b"
ANSWER = "#3d9bff"
EDGE = "#cccccc"
LONGEST_LABEL = 24  # characters of a key that still stands upright below a column
LONGEST_LINE = 100  # characters of a sentence that are shown
MOST_NAMED = 400  # units at an edge of a matrix; of more the numbers stand there
MOST_KEYS = 30  # long ones that are shown below one another
MOST_ROWS = 8  # of a map over a picture that are drawn, each as a picture of its own
HEAD_WIDTH = 1.5  # inches
LEAST_HEIGHT, MOST_HEIGHT = 0.3, 2.2  # inches of a head

Array = npt.NDArray[np.float64]


def draw_maps(examples: Sequence[ShownExample], folder: Path) -> list[Path]:
    """A picture of each example's map."""
    folder.mkdir(exist_ok=True)
    paths: list[Path] = []
    for example in examples:
        paths.append(folder / f"{file_name(example.id)}.png")
        draw_map(example).savefig(paths[-1], dpi=130)
    return paths


def draw_map(example: ShownExample) -> Figure:
    """A picture of the map over its keys."""
    if example.grid is not None:
        figure = _over_picture(example, example.grid)
    elif example.spectrum is not None:
        figure = _under_spectrum(example)
    elif max(map(len, example.keys), default=0) > LONGEST_LABEL:
        figure = _sentences(example)
    else:
        figure = _matrix(example)
    figure.tight_layout()
    return figure


def _new_figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height))


def _title(example: ShownExample) -> str:
    if not example.gold:  # the map itself is the answer, or gold is not known
        return example.prediction
    if not example.prediction:
        return f"gold {example.gold}"
    rows = "   rows: gold, teacher-forced" if example.teacher_forced else ""
    return f"gold {example.gold}   answer {example.prediction}{rows}"


def _lines(example: ShownExample) -> list[str]:
    """The context, which rows are shown of a larger map, and the parts of the title."""
    rows = [example.rows_shown] if example.rows_shown else []
    return [*example.context.values(), *rows, *_title(example).split("   ")]


def _matrix(example: ShownExample) -> Figure:
    """Queries by keys, with the units at the edges."""
    queries, keys = len(example.queries), len(example.keys)
    if max(queries, keys) > MOST_NAMED:
        return _large_matrix(example)
    figure = _new_figure(1.2 + 0.24 * keys, 1.0 + 0.26 * queries)
    axes = figure.add_subplot()
    _show_map(axes, example.map)
    upright = any(len(unit) > 1 for unit in example.keys)
    labels = [unit.replace(" ", "␣") for unit in example.keys]
    axes.set_xticks(range(keys), labels, rotation=90 if upright else 0)
    axes.set_yticks(range(queries), example.queries)
    axes.set_title(_title(example), fontsize=9, loc="left")
    _frame_gold(axes, example.gold_map)
    return figure


def _large_matrix(example: ShownExample) -> Figure:
    """Queries by keys on one page, by their numbers; the largest weight is the darkest."""
    figure = _new_figure(12.0, 1.5 + 6.0 * min(len(example.queries) / len(example.keys), 1.0))
    axes = figure.add_subplot()
    _show_map(axes, example.map, float(np.max(example.map)) or 1.0)
    rows = example.rows_shown or "all"
    axes.set_title(f"{example.id}: {rows} rows, {len(example.keys):,} keys", fontsize=9, loc="left")
    _frame_gold(axes, example.gold_map)
    return figure


def _sentences(example: ShownExample) -> Figure:
    """Long keys one below the other, with the weights of each query beside them.

    Of many keys those with the most weight are shown, in their order.
    """
    weights, gold = np.array(example.map), np.array(example.gold_map)  # queries x keys
    shown = np.sort(np.argsort(-weights.max(0), kind="stable")[:MOST_KEYS])
    labels = [shorten(example.keys[key], LONGEST_LINE, placeholder=" …") for key in shown]
    title = [shorten(text, LONGEST_LINE) for text in _lines(example)]
    if len(shown) < weights.shape[1]:
        share = weights[:, shown].sum() / weights.sum()
        title.append(f"{len(shown)} of {weights.shape[1]} keys, with {share:.0%} of the weight")
    longest = max(map(len, labels))
    figure = _new_figure(1.6 + 0.065 * longest + 0.4 * len(weights), 1.6 + 0.22 * len(shown))
    figure.suptitle("\n".join(filter(None, title)), x=0.01, ha="left", fontsize=9)
    axes = figure.add_subplot()
    darkest = weights.max() or 1
    _show_map(axes, weights[:, shown].T.tolist(), darkest)
    for (query, row), weight in np.ndenumerate(weights[:, shown]):
        colour = "white" if weight > 0.6 * darkest else "black"
        axes.text(query, row, f"{weight:.2f}", color=colour, fontsize=7, ha="center", va="center")
    axes.set_yticks(range(len(shown)), labels)
    axes.set_xticks(range(len(weights)), example.queries if len(weights) > 1 else [""], rotation=90)
    _frame_gold(axes, gold[:, shown].T.tolist())
    return figure


def _under_spectrum(example: ShownExample) -> Figure:
    """The sound's spectrum, and below it queries by steps on the same axis of time."""
    figure = _new_figure(7.4, 1.9 + 0.24 * len(example.queries))
    above, below = figure.subplots(2, 1, height_ratios=[1.2, 0.24 * len(example.queries)])
    above.imshow(np.array(example.spectrum), cmap="gray_r", aspect="auto")
    above.set(xticks=[], yticks=[])
    above.set_title(_title(example), fontsize=9, loc="left")
    _show_map(below, example.map)
    below.set_yticks(range(len(example.queries)), example.queries)
    below.set_xticks([])
    _frame_gold(below, example.gold_map)
    return figure


def _over_picture(example: ShownExample, grid: tuple[int, int]) -> Figure:
    """The picture, what gold and the answer mark in it, then the map of each query over it."""
    assert example.picture is not None and example.size is not None
    both = {"gold": example.gold_regions, "answer": example.predicted_regions}
    marked = {name: regions for name, regions in both.items() if regions is not None}
    rows = range(min(len(example.queries), MOST_ROWS))
    panels = 1 + len(marked) + len(rows)
    figure = _new_figure(2.6 * panels, 3.2)
    title = (shorten(line, 40 * panels, placeholder=" …") for line in _lines(example))
    figure.suptitle("\n".join(title), x=0.01, ha="left", fontsize=8)
    image, (height, width) = pixels_at(example.picture), example.size
    whole = (-0.5, width - 0.5, height - 0.5, -0.5)
    every = list(figure.subplots(1, panels))
    for axes in every:
        axes.imshow(image, cmap="gray", extent=whole)
        axes.set(xticks=[], yticks=[])
    for axes, (name, regions) in zip(every[1:], marked.items(), strict=False):
        _mark(axes, regions, whole)
        axes.set_title(name, fontsize=8)
    for axes, row in zip(every[1 + len(marked) :], rows, strict=True):
        weights = np.array(example.map[row]).reshape(grid)
        axes.imshow(weights, cmap="Blues", alpha=0.65, extent=whole, vmin=0)
        axes.set_title(example.queries[row], fontsize=8)
        gold = np.array(example.gold_map[row]).reshape(grid)
        scale = width / grid[1], height / grid[0]
        _frame_gold(axes, (gold > gold.max() / 4).astype(float).tolist(), scale)
    return figure


def _mark(axes: Axes, regions: Regions, whole: tuple[float, float, float, float]) -> None:
    """Boxes with their classes and, of a prediction, their confidence; or a mask."""
    from matplotlib.patches import Rectangle

    if regions.mask is not None:
        axes.imshow(pixels_at(regions.mask), extent=whole, alpha=0.6)
    for left, top, right, bottom, kind, *sure in regions.boxes:
        if sure and sure[0] < CONFIDENT:
            continue
        corner, colour = (left - 0.5, top - 0.5), ANSWER if sure else GOLD
        box = Rectangle(corner, right - left, bottom - top, fill=False, edgecolor=colour)
        axes.add_patch(box)
        words = f"{kind:.0f} {sure[0]:.2f}" if sure else f"{kind:.0f}"
        axes.text(*corner, words, color=colour, fontsize=7, va="bottom")


def _show_map(axes: Axes, weights: Rows, darkest: float = 1.0) -> None:
    axes.imshow(np.array(weights), cmap="Blues", vmin=0, vmax=darkest, aspect="auto")
    axes.tick_params(length=0, labelsize=9)
    for spine in axes.spines.values():
        spine.set_color(EDGE)


def _frame_gold(axes: Axes, gold: Rows, scale: tuple[float, float] = (1.0, 1.0)) -> None:
    """A frame round every marked entry; `scale` is the width and height of one."""
    from matplotlib.patches import Rectangle

    wide, high = scale
    for row, column in zip(*np.nonzero(np.array(gold)), strict=True):
        corner = column * wide - 0.5, row * high - 0.5
        axes.add_patch(Rectangle(corner, wide, high, fill=False, edgecolor=GOLD, linewidth=1.1))


def draw_head_grids(
    examples: Sequence[ShownExample], heads: Sequence[Heads], folder: Path
) -> list[Path]:
    """A picture of each example whose model has more maps than the one that is evaluated."""
    folder.mkdir(exist_ok=True)
    paths: list[Path] = []
    for example, sites in zip(examples, heads, strict=False):  # few have their heads kept
        if sum(packed["shape"][0] for packed in sites.values()) > 1:
            paths.append(folder / f"{file_name(example.id)}-heads.png")
            draw_heads(example, sites).savefig(paths[-1], dpi=110)
    return paths


def draw_blocks(examples: Sequence[ShownExample], folder: Path) -> list[Path]:
    """A picture of each example whose model chose blocks: the map with all keys, a line around what
    was read, hatching over what no layer read."""
    folder.mkdir(exist_ok=True)
    paths: list[Path] = []
    for example in examples:
        if example.blocks:
            paths.append(folder / f"{file_name(example.id)}-blocks.png")
            _blocks(example).savefig(paths[-1], dpi=110)
    return paths


def _blocks(example: ShownExample) -> Figure:
    from matplotlib.collections import LineCollection, PatchCollection
    from matplotlib.patches import Rectangle

    figure = _matrix(replace(example, map=example.blocks["dense"]))
    (axes,) = figure.axes
    read, missed = (np.array(example.blocks[name]) > 0 for name in ("read", "missed"))
    around = np.pad(read, 1)
    down, across = (around[1:, 1:-1] != around[:-1, 1:-1]), (around[1:-1, 1:] != around[1:-1, :-1])
    flat, upright, hatched = (np.argwhere(each)[:, ::-1] - 0.5 for each in (down, across, missed))
    right, below = np.array([1, 0]), np.array([0, 1])
    lines = [[corner, corner + right] for corner in flat]
    lines += [[corner, corner + below] for corner in upright]
    axes.add_collection(LineCollection(lines, colors=ANSWER, linewidths=1.2))
    squares = [Rectangle(corner, 1, 1) for corner in hatched]
    axes.add_collection(
        PatchCollection(squares, facecolor="none", edgecolor=EDGE, hatch="////", linewidth=0)
    )
    gold = shorten(_title(example), LONGEST_LINE, placeholder=" …")
    title = f"within the line: read; hatched: never read\n{gold}"
    axes.set_title(title, fontsize=9, loc="left")
    figure.tight_layout()
    return figure


def draw_heads(example: ShownExample, sites: Heads) -> Figure:
    """A row for each attention site, a column for each head, each on its own colour scale."""
    from matplotlib.figure import Figure

    maps = {site: _laid_out(unpack(packed), example.grid) for site, packed in sites.items()}
    heights = [_height(each) for each in maps.values()]
    columns = max(len(each) for each in maps.values())
    figure = Figure(
        figsize=(1.3 + (HEAD_WIDTH + 0.1) * columns, 0.4 + sum(heights) + 0.25 * len(maps))
    )
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
    """Reshapes the weights of a single query to the grid of a picture."""
    heads, queries, keys = weights.shape
    if grid is not None and queries == 1 and keys == grid[0] * grid[1]:
        return weights.reshape(heads, *grid)
    return weights


def _height(weights: Array) -> float:
    rows, columns = weights.shape[1:]
    return min(max(HEAD_WIDTH * rows / max(columns, 1), LEAST_HEIGHT), MOST_HEIGHT)
