"""Tables that `attnlab explain` prints: agreement of explanations, findings of the tests."""

from __future__ import annotations

import math
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from attnlab.explain.battery import Report
from attnlab.explain.explanations import Explanations
from attnlab.stages.run import Run


def show(console: Console, run: Run, explanations: Explanations, report: Report) -> None:
    """Print both tables, the verdicts and the files."""
    figures = explanations.figures()
    console.print(_agreement_table(explanations.seconds, figures))
    console.print(_trust_table(report))
    for verdict in filter(None, (finding.verdict for finding in report.findings)):
        console.print(f"  {verdict}", soft_wrap=True, highlight=False)
    console.print(f"\n{report.verdict}\n", style="bold", soft_wrap=True, highlight=False)
    for name in ("explanations.json", "trust.json"):
        console.print(f"{name:<18}{run.folder / name}", soft_wrap=True)


def _agreement_table(seconds: dict[str, float], figures: dict[str, Any]) -> Table:
    """The agreement of each method with gold and with the map."""
    table = _table(
        "Explanations", "method", "seconds", "AP with gold", "95% interval", "tau with map"
    )
    taus = {tuple(pair["methods"]): pair["value"] for pair in figures["kendall"]}
    for name, took in seconds.items():
        gold = figures["average_precision"].get(name)
        tau = taus.get(("attention", name), taus.get((name, "attention"), math.nan))
        table.add_row(name, f"{took:.1f}", *_with_interval(gold), _number(tau))
    for name, value in figures["controls"].items():
        table.add_row(f"({name})", "", _number(value), "", "")
    return table


def _trust_table(report: Report) -> Table:
    table = _table("Trust", "test", "figure", "value", "95% interval", "controls")
    for finding in report.findings:
        controls = "  ".join(f"{name} {_number(value)}" for name, value in finding.known.items())
        value = {"value": finding.value.mean, "low": finding.value.low, "high": finding.value.high}
        table.add_row(finding.test, finding.figure, *_with_interval(value), controls)
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        numeric = column in ("seconds", "value", "AP with gold", "tau with map", "95% interval")
        table.add_column(column, justify="right" if numeric else "left")
    return table


def _with_interval(value: dict[str, float] | None) -> tuple[str, str]:
    if value is None:
        return "", ""
    return _number(value["value"]), f"{_number(value['low'])} - {_number(value['high'])}"


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3f}"
