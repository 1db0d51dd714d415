"""One HTML page for a run: no network, nothing to install, opens from disk."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from attnlab.report.examples import ShownExample

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1d2733; max-width: 68rem; margin: 2rem auto;
       padding: 0 1rem; background: #fff }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2.2rem }
table { border-collapse: collapse } td, th { padding: .25rem .9rem .25rem 0; text-align: right }
td:first-child, th:first-child { text-align: left } th { color: #5b6877; font-weight: 500 }
tr + tr td { border-top: 1px solid #e6eaee }
.curves { display: flex; flex-wrap: wrap; gap: 1.5rem } figure { margin: 0 }
figcaption { color: #5b6877; font-size: .85rem }
.example { margin: 1.2rem 0; overflow-x: auto } .wrong { color: #b3261e }
.map { border-collapse: separate; border-spacing: 1px; font: 13px ui-monospace, monospace }
.map td, .map th { padding: 0; width: 1.35rem; min-width: 1.35rem; height: 1.35rem;
       text-align: center; border: 0; color: #1d2733; font-weight: 400 }
.map td.gold { box-shadow: inset 0 0 0 2px #d1495b }
"""


def page(
    title: str,
    figures: dict[str, Any],
    curves: dict[str, Sequence[tuple[int, float]]],
    examples: Sequence[ShownExample],
) -> str:
    """The whole page."""
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        "<h2>Is the answer good, is the attention right, can it be trusted</h2>",
        _table(figures),
        "<h2>Training</h2>",
        f"<div class=curves>{''.join(_curve(name, points) for name, points in curves.items())}</div>",
        "<h2>Where it looked</h2>",
        "<p>Darkness is the model's weight, a red frame marks gold. The least right come first.</p>",
        *(_example(example) for example in sorted(examples, key=_how_right)),
    ]
    head = f"<meta charset=utf-8><title>{html.escape(title)}</title><style>{STYLE}</style>"
    return f"<!doctype html><html lang=en><head>{head}</head><body>{''.join(parts)}</body></html>"


def _table(figures: dict[str, Any]) -> str:
    rows = [
        "<tr><th></th><th>test</th><th>95% interval</th><th>uniform</th><th>position prior</th>"
        "<th>oracle</th></tr>"
    ]
    for group in ("answer", "attention", "trust"):
        for name, value in figures[group].items():
            interval = figures["intervals"].get(name) or [None]
            known = [
                _number(figures["controls"][c][name], ".3f") if group == "attention" else ""
                for c in ("uniform", "position", "oracle")
            ]
            label = f"answers changed by a {name} map" if group == "trust" else name
            cells = [
                f"{group}: {label}",
                _number(value, ".4f"),
                f"{interval[0]:.3f} to {interval[1]:.3f}" if None not in interval else "",
                *known,
            ]
            rows.append("<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in cells) + "</tr>")
    return f"<table>{''.join(rows)}</table>"


def _number(value: float | None, form: str) -> str:
    """A figure that is not defined stays empty."""
    return "" if value is None else format(value, form)


def _curve(name: str, points: Sequence[tuple[int, float]]) -> str:
    """A line from the first step to the last, as SVG."""
    if len(points) < 2:
        return ""
    width, height = 300, 110
    steps, values = [p[0] for p in points], [p[1] for p in points]
    low, high = min(values), max(values)
    across = width / max(steps[-1] - steps[0], 1)
    up = height / ((high - low) or 1.0)
    path = " ".join(
        f"{(s - steps[0]) * across:.1f},{height - (v - low) * up:.1f}" for s, v in points
    )
    svg = (
        f"<svg width={width} height={height + 8} viewBox='-2 -4 {width + 4} {height + 8}'>"
        f"<polyline points='{path}' fill=none stroke=#2b6cb0 stroke-width=1.8 /></svg>"
    )
    caption = f"{html.escape(name)}: {values[0]:.3g} to {values[-1]:.3g} in {steps[-1]} steps"
    return f"<figure>{svg}<figcaption>{caption}</figcaption></figure>"


def _example(example: ShownExample) -> str:
    wrong = "" if example.prediction == example.gold else " class=wrong"
    said = (
        f"<p>{html.escape(example.id)}: gold <b>{html.escape(example.gold)}</b>, "
        f"answer <b{wrong}>{html.escape(example.prediction)}</b></p>"
    )
    head = "".join(f"<th>{html.escape(unit)}</th>" for unit in example.keys)
    rows = [
        f"<tr><th>{html.escape(query)}</th>{_cells(weights, gold)}</tr>"
        for query, weights, gold in zip(example.queries, example.map, example.gold_map, strict=True)
    ]
    table = f"<table class=map><tr><th></th>{head}</tr>{''.join(rows)}</table>"
    return f"<div class=example>{said}{table}</div>"


def _cells(weights: Sequence[float], gold: Sequence[float]) -> str:
    return "".join(
        f"<td{' class=gold' if g else ''} title='{w:.3f}' "
        f"style='background:rgba(43,108,176,{min(w, 1):.3f})'></td>"
        for w, g in zip(weights, gold, strict=True)
    )


def _how_right(example: ShownExample) -> float:
    mass = example.mass_on_gold()
    return 1.0 if mass is None else mass
