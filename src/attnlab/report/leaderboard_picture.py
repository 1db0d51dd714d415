"""The Pareto picture: answers against their cost, against maps, and against trust in maps.

Up and to the right is always better, so that an axis on which less is better is turned round.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from attnlab.report.leaderboard import Leaderboard, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

Palette = dict[str, str]
Offset = tuple[float, float]
# The explorer's colours: see theme.js.
LIGHT = {"paper": "#fdfdfc", "ink": "#1b2430", "soft": "#55616f", "line": "#dfe3e7"} | {
    "front": "#1f5fa8",
    "control": "#b3401f",
}
DARK = {"paper": "#12161b", "ink": "#e4e8ec", "soft": "#a3adb8", "line": "#2e3640"} | {
    "front": "#7fb2ea",
    "control": "#f0946f",
}
PANELS = (
    ("seconds", "Answers against cost"),
    ("plausibility", "Answers against maps"),
    ("trust", "Answers against faithfulness"),
)
AXES = {"seconds": "seconds of training", "trust": "answers that another map changes"}
WIDE_RANGE = 8  # from here on, times are shown on a logarithmic axis
# Where a label may stand beside its point, in points, the best place first.
# Off the whiskers, which go straight up and straight to the right.
OFFSETS = (
    (6, 7),
    (6, -7),
    (-6, 7),
    (-6, -7),
    (9, 0),
    (-9, 0),
    (0, 9),
    (0, -9),
    (12, 16),
    (12, -16),
)


def panels_of(board: Leaderboard) -> list[str]:
    """The columns that the systems have figures for, beside those of answers: one a panel."""
    return [column for column, _ in PANELS if _placed(board, column)]


def draw(
    board: Leaderboard, palette: Palette = LIGHT, columns: Sequence[str] | None = None
) -> Figure:
    """A panel for each of these columns; by default for all of `panels_of`."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    chosen = panels_of(board) if columns is None else columns
    panels = [(column, title) for column, title in PANELS if column in chosen]
    with mpl.rc_context({"font.size": 9.5}):
        figure = Figure(figsize=(5.2 * max(len(panels), 1), 4.4), facecolor=palette["paper"])
        for i, (column, title) in enumerate(panels):
            _panel(figure.add_subplot(1, len(panels), i + 1), board, column, title, palette)
        figure.tight_layout(w_pad=3)
        for axes in figure.axes:  # only now is it known where everything stands
            _label(axes, board, palette)
    return figure


def save(board: Leaderboard, folder: Path) -> list[Path]:
    """The picture as PNG and as SVG."""
    png, svg = folder / "pareto.png", folder / "pareto.svg"
    draw(board).savefig(png, dpi=200)
    svg.write_text(svg_text(board), encoding="utf-8")
    return [png, svg]


def svg_text(
    board: Leaderboard, palette: Palette = LIGHT, columns: Sequence[str] | None = None
) -> str:
    """The same text for the same leaderboard; words stay words."""
    import matplotlib as mpl

    text = StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "attnlab"}):
        draw(board, palette, columns).savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


def _placed(board: Leaderboard, column: str) -> list[Row]:
    return [row for row in board.rows if {"quality", column} <= row.measures.keys()]


def _panel(axes: Axes, board: Leaderboard, column: str, title: str, palette: Palette) -> None:
    rows = _placed(board, column)
    axes.set_gid(column)
    axes.set_facecolor(palette["paper"])
    axes.set_title(title, loc="left", color=palette["ink"], fontsize=11, fontweight="bold")
    axes.set_ylabel(_words(board, "quality"), color=palette["soft"])
    axes.set_xlabel(_words(board, column), color=palette["soft"])
    axes.tick_params(colors=palette["soft"], length=0, labelsize=8.5)
    axes.grid(color=palette["line"], linewidth=0.7)
    axes.set_axisbelow(True)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.margins(0.16, 0.14)
    _front(axes, board, rows, column, palette)
    _controls(axes, board, column, palette)
    for row in rows:
        _point(axes, row, column, palette)
    values = [row.measures[column].mean for row in rows]
    if column == "seconds" and 0 < min(values) * WIDE_RANGE < max(values):
        _logarithmic(axes)
    if board.is_lower_better(column) and column != "seconds":  # cost grows from left to right
        axes.invert_xaxis()
    if board.is_lower_better("quality"):
        axes.invert_yaxis()


def _logarithmic(axes: Axes) -> None:
    """Ticks at 1, 2, 5, 10, ..., in plain numbers."""
    from matplotlib.ticker import FormatStrFormatter, LogLocator, NullLocator

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.xaxis.set_minor_locator(NullLocator())


def _words(board: Leaderboard, column: str) -> str:
    name = AXES.get(column) or board.figures[column].replace("_", " ")
    return f"{name} (less is better)" if board.is_lower_better(column) else name


def _point(axes: Axes, row: Row, column: str, palette: Palette) -> None:
    """Filled on the front, hollow behind it; whiskers are the intervals."""
    at = row.measures[column], row.measures["quality"]
    ahead = column in row.fronts
    colour = palette["front" if ahead else "soft"]
    for measure, other, line in ((at[0], at[1], axes.hlines), (at[1], at[0], axes.vlines)):
        if measure.low is not None and measure.high is not None:
            line(other.mean, measure.low, measure.high, color=colour, linewidth=1.6, alpha=0.8)
    fill = colour if ahead else palette["paper"]
    axes.plot(at[0].mean, at[1].mean, "o", ms=7, mfc=fill, mec=colour, mew=1.4, zorder=3)


def _front(
    axes: Axes, board: Leaderboard, rows: Sequence[Row], column: str, palette: Palette
) -> None:
    """Steps from one system of the front to the next; what is behind them is dominated."""
    ahead = [row for row in rows if column in row.fronts]
    points = sorted((row.measures[column].mean, row.measures["quality"].mean) for row in ahead)
    # A corner has the lesser of both neighbours' scores: it lies on the side of the worse.
    where = "post" if board.is_lower_better(column) else "pre"
    axes.step(*zip(*points, strict=True), where=where, color=palette["front"], lw=5, alpha=0.18)


def _controls(axes: Axes, board: Leaderboard, column: str, palette: Palette) -> None:
    """A line at the score of a uniform map: maps right of it are better than chance."""
    known = board.controls.get("uniform")
    if column != "plausibility" or known is None:
        return
    axes.axvline(known, color=palette["control"], linestyle=(0, (2, 3)), linewidth=1.1)
    axes.annotate(
        "uniform map",
        (known, 0),
        xycoords=axes.get_xaxis_transform(),
        xytext=(4, 4),
        textcoords="offset points",
        color=palette["control"],
        fontsize=8,
    )


def _label(axes: Axes, board: Leaderboard, palette: Palette) -> None:
    """Names beside the points, without overlap; those of the front come first.

    A name for which there is no room is left out: the table has them all.
    """
    column = str(axes.get_gid())
    rows = sorted(_placed(board, column), key=lambda row: column not in row.fronts)
    taken = [_around(axes, row, column) for row in rows]
    for row in rows:
        for offset in OFFSETS:
            name = _name(axes, row, column, offset, palette)
            box = name.get_window_extent()
            if _is_free(box, axes, taken):
                taken.append(box)
                break
            name.remove()


def _name(axes: Axes, row: Row, column: str, offset: Offset, palette: Palette) -> Annotation:
    across, up = offset
    return axes.annotate(
        row.system,
        (row.measures[column].mean, row.measures["quality"].mean),
        xytext=offset,
        textcoords="offset points",
        ha="left" if across > 0 else "right" if across < 0 else "center",
        va="center" if across else "bottom" if up > 0 else "top",
        color=palette["ink" if column in row.fronts else "soft"],
        fontsize=8.5,
    )


def _is_free(box: Bbox, axes: Axes, taken: Sequence[Bbox]) -> bool:
    """Neither on something nor beyond the panel."""
    inside = axes.get_window_extent()
    fits = inside.contains(box.x0, box.y0) and inside.contains(box.x1, box.y1)
    return fits and not any(box.overlaps(each) for each in taken)


def _around(axes: Axes, row: Row, column: str, reach: float = 5) -> Bbox:
    """The pixels of a point."""
    from matplotlib.transforms import Bbox

    x, y = axes.transData.transform((row.measures[column].mean, row.measures["quality"].mean))
    return Bbox([[x - reach, y - reach], [x + reach, y + reach]])
