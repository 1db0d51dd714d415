"""Figures of each class: `classes.csv`, its weakest class in a line, the confusion matrix drawn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from attnlab.metrics.figures import Values
from attnlab.text_files import damage_reported, read_table

FILE = "classes.csv"
FIGURES = ("precision", "recall", "f1")
AS = "as "  # how the columns of the confusion matrix begin
MOST_DRAWN = 40  # classes of a matrix that is drawn


@dataclass(frozen=True)
class Classes:
    """The classes of a run's answers, in the order of their labels."""

    names: list[str]
    gold: list[int]  # how many examples each has
    figures: dict[str, list[float]]  # precision, recall and F1; NaN where not defined
    confusion: Values | None  # gold x predicted; None where answers are spans

    @classmethod
    def of(cls, table: Mapping[str, Sequence[Any]]) -> Classes:
        """From the columns of `classes.csv`, as numbers or as their texts."""
        names = list(table["class"])
        figures = {name: [float(cell) for cell in table[name]] for name in FIGURES}
        matrix = [[int(cell) for cell in table[AS + name]] for name in names if AS + name in table]
        confusion = np.array(matrix).T if len(matrix) == len(names) else None
        return cls(names, [int(cell) for cell in table["gold"]], figures, confusion)

    def taken_for(self, index: int) -> tuple[str, int] | None:
        """The wrong class that is most often predicted for this one, and how often."""
        if self.confusion is None:
            return None
        wrong = self.confusion[index].copy()
        wrong[index] = 0
        other = int(wrong.argmax())
        return (self.names[other], int(wrong[other])) if wrong[other] else None

    def weakest(self) -> Iterator[str]:
        """A line about the class that occurs with the lowest F1, unless all are perfect."""
        f1, recall = self.figures["f1"], self.figures["recall"]
        known = [i for i, count in enumerate(self.gold) if count and np.isfinite(f1[i])]
        low = min(known, key=lambda i: f1[i], default=0)
        if len(known) < 2 or f1[low] == 1:
            return
        taken = self.taken_for(low)
        other = f"; {taken[1]} of {self.gold[low]} taken for '{taken[0]}'" if taken else ""
        name = self.names[low]
        yield f"weakest class: '{name}', F1 {f1[low]:.4f}, recall {recall[low]:.4f}{other}"

    def plain(self) -> dict[str, Any]:
        """What the page shows; a figure that is not defined is null."""
        rounded = {
            name: [round(v, 6) if np.isfinite(v) else None for v in values]
            for name, values in self.figures.items()
        }
        confusion = None if self.confusion is None else self.confusion.tolist()
        return {"names": self.names, "gold": self.gold, **rounded, "confusion": confusion}

    def rows(self) -> list[list[Any]]:
        """A row for each class: its name, precision, recall, F1, examples, taken for, how often."""
        return [
            [
                *(name, *(values[i] for values in self.figures.values()), self.gold[i]),
                *(self.taken_for(i) or ("", 0)),
            ]
            for i, name in enumerate(self.names)
        ]


COLUMNS = ["class", *FIGURES, "gold", "taken_for", "times"]  # of `Classes.rows`


def read_classes(folder: Path) -> Classes | None:
    """The classes of an evaluated run; None where answers have none.

    Raises:
        DamagedFileError: the table cannot be read.
    """
    path, remedy = folder / FILE, f"attnlab evaluate {folder}"
    table = read_table(path, remedy)
    if not table:
        return None
    with damage_reported(path, remedy):
        return Classes.of(table)


def draw_confusion(classes: Classes, path: Path) -> Path | None:
    """The matrix as a picture, a row shaded by shares of its class; None where it is too large."""
    from matplotlib.figure import Figure

    if classes.confusion is None or not 1 < len(classes.names) <= MOST_DRAWN:
        return None
    count = len(classes.names)
    side = 2.2 + 0.34 * count
    figure = Figure(figsize=(side, side))
    axes = figure.add_subplot()
    totals = classes.confusion.sum(1, keepdims=True)
    axes.imshow(classes.confusion / np.maximum(totals, 1), cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(count), classes.names, rotation=60, ha="right", fontsize=8)
    axes.set_yticks(range(count), classes.names, fontsize=8)
    axes.set(xlabel="predicted", ylabel="gold")
    for row, column in zip(*np.nonzero(classes.confusion), strict=True):
        times = classes.confusion[row, column]
        ink = "white" if 2 * times > totals[row, 0] else "black"
        axes.text(column, row, str(times), ha="center", va="center", fontsize=7, color=ink)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=130, bbox_inches="tight", pad_inches=0.15)
    return path
