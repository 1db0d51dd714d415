"""Pictures of how sure answers are: reliability, and risk over the share of answers given."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from attnlab.report.summary import FOLDER, INK, KNOWN, MODEL, SOFT
from attnlab.text_files import read_json

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FILE = "calibration.json"


class CalibrationForm(BaseModel):
    """What calibration.json holds at least."""

    model_config = ConfigDict(strict=True)

    figures: dict[str, float]
    bins: dict[str, list[list[float]]]
    risk: list[list[float]]


def read_calibration(folder: Path) -> dict[str, Any]:
    """The calibration of an evaluation; empty where the task has no probabilities."""
    path = folder / FILE
    if not path.is_file():
        return {}
    return read_json(path, f"attnlab evaluate {folder}", CalibrationForm)


def draw_calibration(calibration: Mapping[str, Any], folder: Path) -> Path:
    """The picture `calibration` among the panels of a run."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.8, 3.6))
    left, right = figure.subplots(1, 2)
    left.plot([0, 1], [0, 1], color=KNOWN, linewidth=1)
    for (name, rows), color in zip(calibration["bins"].items(), (MODEL, KNOWN), strict=True):
        error = calibration["figures"]["ece" if color == MODEL else "ece_scaled"]
        xs, ys, _ = zip(*rows, strict=True)
        left.plot(xs, ys, "o-", color=color, markersize=4, label=f"{name}, ECE {error:.3f}")
    left.legend(frameon=False, fontsize=8, labelcolor=SOFT)
    _label(left, "Reliability", "confidence", "share of right answers")
    xs, ys = zip(*calibration["risk"], strict=True)
    right.plot(xs, ys, color=MODEL)
    _label(right, "Risk", "share of answers given, the surest first", "share of errors")
    right.set_ylim(0, max(*ys, 0.05) * 1.1)
    path = folder / FOLDER / "calibration.png"
    path.parent.mkdir(exist_ok=True)
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    return path


def _label(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title, loc="left", fontsize=11, color=INK)
    axes.set_xlabel(x, fontsize=9, color=SOFT)
    axes.set_ylabel(y, fontsize=9, color=SOFT)
    axes.set_xlim(0, 1)
    axes.tick_params(labelsize=8, colors=SOFT)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
