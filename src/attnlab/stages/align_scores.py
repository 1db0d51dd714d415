"""How right an alignment is: AER of each way to read it, beside controls."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from rich import box
from rich.console import Console
from rich.table import Table

from attnlab.alignment.aligner import Maps
from attnlab.alignment.config import AlignerSettings, Symmetrised
from attnlab.data.target import AttentionTarget
from attnlab.data.target_batch import collate_targets
from attnlab.datasets.targets import Links
from attnlab.metrics.figures import Interval
from attnlab.metrics.links import Above, AlignmentErrorRate

Figures = dict[str, dict[str, Interval]]  # reading or control -> figure -> value
CONTROLS = ("diagonal", "uniform")


def scores(
    maps: Sequence[Maps], gold: Sequence[AttentionTarget], settings: AlignerSettings
) -> Figures:
    """AER, precision and recall of both directions, of every symmetrisation and of controls."""
    directed = [each.directed() for each in maps]
    shapes = [each.forward.shape for each in maps]
    read: dict[str, Iterable[Links]] = {
        "forward": (forward for forward, _ in directed),
        "backward": (backward for _, backward in directed),
    }
    for how in get_args(Symmetrised):
        read[how] = [each.links(how, settings.threshold) for each in maps]
    read["diagonal"] = (diagonal(*shape) for shape in shapes)
    read["uniform"] = (everything(*shape) for shape in shapes)
    return {name: error_rate(links, gold).intervals() for name, links in read.items()}


def error_rate(alignments: Iterable[Links], gold: Sequence[AttentionTarget]) -> AlignmentErrorRate:
    """The metric, having seen all links: gold's rows are target words, its columns source words."""
    metric = AlignmentErrorRate(Above(times=0))
    for links, target in zip(alignments, gold, strict=True):
        if target.weights.size:
            metric.update(
                _map(links, target)[None], collate_targets([target], *target.weights.shape)
            )
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


def _map(links: Links, target: AttentionTarget) -> torch.Tensor:
    """queries x keys: target words x source words."""
    weights = np.zeros(target.weights.shape, np.float32)
    for source, word in links:
        weights[word, source] = 1
    return torch.from_numpy(weights)
