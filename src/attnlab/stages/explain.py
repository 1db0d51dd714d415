"""`attnlab explain RUN`: why did it answer so, and is it the attention that decides?"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from attnlab.config.compose import check
from attnlab.explain.explanations import Explanations
from attnlab.explain.study import Step, Study
from attnlab.explain.trust.battery import TESTS, Report
from attnlab.stages.prepare import prepared_data
from attnlab.stages.run import Run, open_run

EXAMPLES = """examples:
  attnlab explain runs/dates-recurrent-additive/20260101-120000
  attnlab explain RUN examples=50 trust.permutations=20     fewer of both
  attnlab explain RUN 'methods=[attention,shap]'            some methods only
  attnlab explain RUN trust.training.steps=1000             train an adversary, too (minutes)
"""


def main(arguments: list[str]) -> None:
    """Explain a run that is trained."""
    parser = argparse.ArgumentParser(
        prog="attnlab explain",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", help="folder of the run")
    parser.add_argument("settings", nargs="*", metavar="key=value", help="see conf/explain")
    given = parser.parse_args(arguments)
    explain(_with_settings(open_run(given.run), given.settings))


def explain(run: Run) -> None:
    """Write explanations.json and trust.json, and show what they say."""
    from attnlab.stages.learners import build_learner, device, load_learner

    config = run.config
    plain = replace(run, config=_uncompiled(run))
    prepared = prepared_data(config)
    model = load_learner(plain, prepared).to(device(config)).model
    console = Console()
    console.width = max(console.width, 100)
    study = Study(model, config.task.map, prepared, config.explain, device(config))
    console.print(study.estimate, soft_wrap=True)
    steps = len(study.parts) * len(config.explain.methods)
    with _progress("explaining", steps, config.trainer.progress) as step:
        explanations = study.explanations(step)
    _write(run.folder / "explanations.json", _explanations(run, explanations))
    with _progress("testing the map", len(TESTS), config.trainer.progress) as step:
        report = study.report(explanations, step)
        if config.explain.trust.training.steps:
            fresh = build_learner(plain, prepared).model
            report.findings += study.trained_adversary(fresh, step)
    _write(run.folder / "trust.json", {"map": config.task.map, **report.plain()})
    show(console, run, explanations, report)


def show(console: Console, run: Run, explanations: Explanations, report: Report) -> None:
    """How explanations agree, what each test says, and where everything is."""
    figures = explanations.figures()
    console.print(_agreement_table(explanations.seconds, figures))
    console.print(_trust_table(report))
    for verdict in filter(None, (finding.verdict for finding in report.findings)):
        console.print(f"  {verdict}", soft_wrap=True, highlight=False)
    console.print(f"\n{report.verdict}\n", style="bold", soft_wrap=True, highlight=False)
    for name in ("explanations.json", "trust.json"):
        console.print(f"{name:<18}{run.folder / name}", soft_wrap=True)


def _agreement_table(seconds: dict[str, float], figures: dict[str, Any]) -> Table:
    """Each method beside gold and beside the map."""
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
    table = _table("Trust", "test", "figure", "value", "95% interval", "beside it")
    for finding in report.findings:
        known = "  ".join(f"{name} {_number(value)}" for name, value in finding.known.items())
        value = {"value": finding.value.mean, "low": finding.value.low, "high": finding.value.high}
        table.add_row(finding.test, finding.figure, *_with_interval(value), known)
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


def _explanations(run: Run, explanations: Explanations) -> dict[str, Any]:
    return {
        "map": run.config.task.map,
        "methods": list(explanations.methods),
        "seconds": {name: round(took, 2) for name, took in explanations.seconds.items()},
        "agreement": explanations.figures(),
        "examples": explanations.examples,
    }


def _with_settings(run: Run, settings: list[str]) -> Run:
    """The run with some values of its `explain` section set anew."""
    given = OmegaConf.from_dotlist([f"explain.{setting}" for setting in settings])
    merged = OmegaConf.merge(OmegaConf.create(run.plain), given)
    assert isinstance(merged, DictConfig)
    config, plain = check(merged)
    return replace(run, config=config, plain=plain)


def _uncompiled(run: Run) -> Any:
    """Changed maps and erased units would be compiled anew each time."""
    trainer = run.config.trainer.model_copy(update={"compile": False})
    return run.config.model_copy(update={"trainer": trainer})


@contextmanager
def _progress(title: str, steps: int, shown: bool) -> Iterator[Step]:
    """A bar that names what is being done; it moves when the next thing begins."""
    columns = (
        TextColumn(title),
        BarColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, disable=not shown, transient=True, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=steps)

        def step(name: str) -> None:
            bar.update(task, description=name)
            bar.advance(task)

        yield step


def _write(path: Path, content: dict[str, Any]) -> None:
    text = json.dumps(_defined(content), ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def _defined(value: Any) -> Any:
    """A figure that is not defined is null: JSON has no NaN."""
    if isinstance(value, dict):
        return {name: _defined(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_defined(each) for each in value]
    return None if isinstance(value, float) and math.isnan(value) else value
