"""How right an alignment is: AER of each way to read it, beside controls."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import get_args

import torch
from rich import box
from rich.console import Console
from rich.table import Table

from attnlab.alignment.config import AlignerSettings, Symmetrisation
from attnlab.alignment.maps import Maps
from attnlab.datasets.targets import GoldLinks, Links
from attnlab.metrics.figures import Interval
from attnlab.metrics.links import Above, AlignmentErrorRate
from attnlab.stages.align_gold import Gold

Figures = dict[str, dict[str, Interval]]  # symmetrisation or control -> figure -> value
CONTROLS = ("diagonal", "uniform")


def scores(maps: Sequence[Maps], gold: Gold, settings: AlignerSettings) -> Figures:
    """AER, precision and recall of both directions, of every symmetrisation and of controls."""
    judged = [
        (each, links)
        for each, links in zip(maps, gold, strict=True)
        if links is not None and each.forward.size
    ]
    maps, known = [each for each, _ in judged], [links for _, links in judged]
    directed = [each.directed() for each in maps]
    shapes = [each.forward.shape for each in maps]
    read: dict[str, Iterable[Links]] = {
        "forward": (forward for forward, _ in directed),
        "backward": (backward for _, backward in directed),
    }
    for how in get_args(Symmetrisation):
        read[how] = [each.links(how, settings.threshold) for each in maps]
    read["diagonal"] = (diagonal(*shape) for shape in shapes)
    read["uniform"] = (everything(*shape) for shape in shapes)
    return {name: error_rate(links, known).intervals() for name, links in read.items()}


def error_rate(alignments: Iterable[Links], gold: Iterable[GoldLinks]) -> AlignmentErrorRate:
    """The metric, having seen all links."""
    metric = AlignmentErrorRate(Above(times=0))
    rows = [
        [len(links & of.sure), len(links & of.possible), len(links), len(of.sure)]
        for links, of in zip(alignments, gold, strict=True)
    ]
    metric.keep(torch.tensor(rows).reshape(-1, 4))
    return metric


def diagonal(sources: int, targets: int) -> Links:
    """A control: every target word is linked to the source word that stands as far."""
    return frozenset((int((j + 0.5) * sources / targets), j) for j in range(targets))


def everything(sources: int, targets: int) -> Links:
    """A control: a uniform map prefers no link, so it has all of them, or none."""
    return frozenset((i, j) for i in range(sources) for j in range(targets))


def show(figures: Figures, written: str) -> None:
    """A table of all figures."""
    table = Table(title="Against gold", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("links")
    for column in ("AER", "95% interval", "precision", "recall"):
        table.add_column(column, justify="right")
    for name, values in figures.items():
        aer, precision, recall = values.values()
        title = f"({name})" if name in CONTROLS else name
        table.add_row(
            title,
            f"{aer.mean:.4f}",
            f"{aer.low:.4f} - {aer.high:.4f}",
            f"{precision.mean:.4f}",
            f"{recall.mean:.4f}",
            style="bold" if name == written else "",
        )
    Console(markup=False, emoji=False).print(table)


def save_figures(figures: Figures, folder: Path, seconds: float, data: str) -> Path:
    """All figures as JSON."""
    path = folder / "figures.json"
    values = {
        name: {figure: asdict(value) for figure, value in of.items()}
        for name, of in figures.items()
    }
    content = {"figures": values, "seconds": round(seconds, 2), "data": data}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return path
