"""The explorer: runs, their figures and their maps as one HTML file that needs nothing else."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from attnlab.report.assets import asset, filled
from attnlab.report.differences import Difference
from attnlab.report.encoding import pack
from attnlab.report.examples import ShownExample
from attnlab.report.head_maps import Heads

SCRIPTS = ("theme", "unpack", "svg", "figures", "maps", "charts", "examples", "example", "page")
Curves = dict[str, list[tuple[int, float]]]


@dataclass(frozen=True)
class ReportedRun:
    """What the other stages left of one run."""

    name: str
    folder: str
    settings: dict[str, Any]  # dotted keys of its config
    figures: dict[str, Any]  # metrics.json
    curves: Curves
    examples: list[ShownExample]
    heads: list[Heads]  # of the first examples
    losses: dict[str, float]  # by example
    drawn: str  # what the maps of examples belong to: the task's own map


def page(title: str, runs: Sequence[ReportedRun], differences: Sequence[Difference]) -> str:
    """The whole file."""
    data = {
        "title": title,
        "runs": [_run(run) for run in runs],
        "settings": _settings(runs),
        "differences": [asdict(difference) for difference in differences],
        "examples": _examples(runs),
    }
    # `<` could end the script element or open a comment in it.
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    parts = {
        "style": asset("explorer/style.css"),
        "script": "\n".join(asset(f"explorer/{name}.js") for name in SCRIPTS),
        "title": html.escape(title),
        "data": text,
    }
    return filled("explorer/page.html", parts)


def _run(run: ReportedRun) -> dict[str, Any]:
    return {
        "name": run.name,
        "folder": run.folder,
        "figures": run.figures,
        "curves": run.curves,
        "drawn": run.drawn,
    }


def _settings(runs: Sequence[ReportedRun]) -> dict[str, list[Any]]:
    """The keys of the config in which runs differ, with the value of each run."""
    keys = dict.fromkeys(key for run in runs for key in run.settings)
    values = {key: [run.settings.get(key) for run in runs] for key in keys}
    return {key: found for key, found in values.items() if any(v != found[0] for v in found)}


def _examples(runs: Sequence[ReportedRun]) -> list[dict[str, Any]]:
    """Examples of the first run, each with what every run made of it."""
    places = [{example.id: i for i, example in enumerate(run.examples)} for run in runs]
    return [
        _example(example)
        | {
            "runs": [
                _seen_by(run, place[example.id], example) if example.id in place else None
                for run, place in zip(runs, places, strict=True)
            ]
        }
        for example in (runs[0].examples if runs else [])
    ]


def _example(example: ShownExample) -> dict[str, Any]:
    """What is the same in all runs."""
    form = "picture" if example.picture else "sound" if example.spectrum else "text"
    spectrum = None if example.spectrum is None else pack(example.spectrum, bits=8)
    return {
        "id": example.id,
        "form": form,
        "keys": example.keys,
        "queries": example.queries,
        "gold": example.gold,
        "meta": example.meta,
        "beside": example.beside,
        "grid": example.grid,
        "size": example.size,
        "picture": example.picture,
        "right": example.right and asdict(example.right),
        "spectrum": spectrum,
    }


def _seen_by(run: ReportedRun, place: int, same: ShownExample) -> dict[str, Any] | None:
    """One run's answer and maps; nothing where it looked at something else."""
    example = run.examples[place]
    if (example.gold, len(example.queries)) != (same.gold, len(same.queries)):
        return None
    return {
        "prediction": example.prediction,
        "right": example.prediction == example.gold,
        "loss": run.losses.get(example.id),
        "mass": _mass_on_marked(example),
        "map": pack(example.map),
        "gold": pack(example.gold_map),
        "keys": None if example.keys == same.keys else example.keys,  # of another layout
        "grid": example.grid,
        "said": example.said and asdict(example.said),
        "heads": run.heads[place] if place < len(run.heads) else {},
    }


def _mass_on_marked(example: ShownExample) -> float | None:
    """The weight on keys that the page frames: of soft gold, those in the upper half."""
    weights, gold = np.array(example.map), np.array(example.gold_map)
    rows = gold.any(-1)
    if not rows.any():
        return None
    marked = (gold >= gold.max(-1, keepdims=True) / 2) & (gold > 0)
    return round(float((weights * marked).sum(-1)[rows].mean()), 4)
