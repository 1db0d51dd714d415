"""`attnlab explain RUN`: explains answers and tests whether the attention decides them."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from attnlab.config.compose import checked, resolve
from attnlab.config.task import Task
from attnlab.errors import Mistake, UserError
from attnlab.metrics.figures import defined
from attnlab.stages import params, trusted_plugins
from attnlab.stages.run import Run, open_run
from attnlab.text_files import write_whole

if TYPE_CHECKING:
    from attnlab.explain.battery import Report
    from attnlab.explain.findings import Explanations
    from attnlab.explain.study import Step

COMMAND = "explain a run's answers, and test its maps"

EXAMPLES = """examples:
  attnlab explain runs/dates-recurrent-additive/20260101-120000
  attnlab explain RUN examples=50 trust.permutations=20     fewer of both
  attnlab explain RUN 'methods=[attention,shap]'            some methods only
  attnlab explain RUN trust.training.steps=1000             train an adversary, too (minutes)
  attnlab explain RUN --params params.yaml                  settings as `dvc repro` has them
"""


def main(arguments: list[str]) -> None:
    """Explain a trained run."""
    parser = argparse.ArgumentParser(
        prog="attnlab explain",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", help="folder of the run")
    parser.add_argument("settings", nargs="*", metavar="key=value", help="see conf/explain")
    parser.add_argument("--params", type=Path, metavar="FILE", help="a params.yaml with settings")
    trusted_plugins.add_option(parser)
    options = parser.parse_intermixed_args(arguments)
    run = open_run(options.run, options.trust)
    if options.params:
        run = replace(run, plain={**run.plain, "explain": params.read(options.params).explain})
    run = with_settings(run, options.settings)
    mistake = not_explained(run.config.task)
    run.require_writable()
    if mistake is None:
        explain(run)
    elif options.params:  # a stage of DVC leaves its files for every task
        print(replace(mistake, hint=""))
        _leave_nothing(run)
    else:
        raise UserError(str(mistake))


def not_explained(task: Task) -> Mistake | None:
    """Why answers of this task have no explanations, if so."""
    if task.explains:
        return None
    explained = [kind for kind, each in Task.kinds().items() if each.explains]
    problem = f"'{task.kind}' makes no decision that could be explained"
    return Mistake("task.kind", problem, f"tasks that do: {', '.join(sorted(explained))}")


def explain(run: Run) -> None:
    """Write explanations.json and trust.json, print both as tables, show them to the loggers."""
    from attnlab.explain.battery import TESTS
    from attnlab.explain.study import Study
    from attnlab.report.logged import log_findings
    from attnlab.stages.trained_run import TrainedRun, build_learner
    from attnlab.training.loggers import connected
    from attnlab.training.trainer import seed_everything

    config = run.config
    seed_everything(config.seed + 1, config.trainer)  # an adversary must start from other weights
    trained = TrainedRun(uncompiled(run))
    study = Study(trained.model, trained.task, trained.prepared, config.explain, trained.device)
    console = Console(markup=False, emoji=False)
    console.width = max(console.width, 100)
    console.print(study.estimate, soft_wrap=True)
    steps = len(study.parts) * len(config.explain.methods)
    with _progress("explaining", steps, config.trainer.progress) as step:
        explanations = study.explanations(step)
    _write(run.folder / "explanations.json", _explanations(run, explanations))
    with _progress("testing the map", len(TESTS), config.trainer.progress) as step:
        report = study.report(explanations, step)
        if config.explain.trust.training.steps:
            fresh = build_learner(trained.run, trained.prepared).model
            report.findings += study.trained_adversary(fresh, step)
    _write(run.folder / "trust.json", {"map": config.task.map, **report.plain()})
    _save_views(run)
    show(console, run, explanations, report)
    with connected(config.logger, run.folder, config.name, {}) as loggers:
        log_findings(loggers, run.folder)


def _leave_nothing(run: Run) -> None:
    """Write the files of `explain` without content."""
    from attnlab.report.summary import FOLDER as PANELS
    from attnlab.report.summary import draw_rows

    _write(run.folder / "explanations.json", {"map": run.config.task.map, "examples": []})
    _write(run.folder / "trust.json", {"map": run.config.task.map, "tests": [], "curves": {}})
    _save_views(run)
    picture = run.folder / PANELS / "findings.png"
    picture.parent.mkdir(exist_ok=True)
    draw_rows("Nothing to explain", []).savefig(picture)


def _save_views(run: Run) -> None:
    """The findings as a picture, and as tables for `dvc plots` and `dvc metrics`."""
    from attnlab.report.summary import draw_findings, findings
    from attnlab.report.tables import save_findings, save_metrics

    rows = findings(run.folder)
    curves = json.loads((run.folder / "trust.json").read_text(encoding="utf-8"))["curves"]
    draw_findings(run.folder)
    save_findings(rows, curves, run.config.explain.trust.fractions, run.folder)
    save_metrics(rows, run.folder / "trust_metrics.json")


def _explanations(run: Run, explanations: Explanations) -> dict[str, Any]:
    return {
        "map": run.config.task.map,
        "methods": list(explanations.methods),
        "seconds": {name: round(took, 2) for name, took in explanations.seconds.items()},
        "agreement": explanations.figures(),
        "examples": explanations.examples,
    }


def with_settings(run: Run, settings: list[str]) -> Run:
    """The run with some values of its `explain` section replaced."""
    chosen = OmegaConf.from_dotlist([f"explain.{setting}" for setting in settings])
    merged = OmegaConf.merge(OmegaConf.create(run.plain), chosen)
    assert isinstance(merged, DictConfig)
    plain = resolve(merged)
    return replace(run, config=checked(plain), plain=plain)


def uncompiled(run: Run) -> Run:
    """The run without compilation, which every changed map would trigger again."""
    trainer = run.config.trainer.model_copy(update={"compile": False})
    return replace(run, config=run.config.model_copy(update={"trainer": trainer}))


@contextmanager
def _progress(title: str, steps: int, shown: bool) -> Iterator[Step]:
    """A progress bar that shows the name of the current step."""
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
    text = json.dumps(defined(content), ensure_ascii=False, allow_nan=False)
    write_whole(path, text + "\n")


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
