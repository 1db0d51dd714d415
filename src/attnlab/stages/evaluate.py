"""`attnlab evaluate RUN`: is the answer good, is the attention right, can it be trusted."""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from typing import Any

import torch
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from attnlab.attention.probes import Intervention, Tap
from attnlab.data.batch import Batch
from attnlab.data.codec import Codec
from attnlab.data.loader import eval_loader
from attnlab.data.prepared import Prepared
from attnlab.explain.trust.swaps import MAP_CHANGES
from attnlab.learning.judge import Judge
from attnlab.learning.learner import Learner
from attnlab.metrics.controls import PositionPrior, controls
from attnlab.metrics.intervals import Interval
from attnlab.metrics.plausibility import map_metrics
from attnlab.metrics.text import ExactMatch
from attnlab.report.examples import ShownExample, save_examples
from attnlab.report.head_maps import HeadMaps
from attnlab.report.maps import draw_maps
from attnlab.report.scores import save_scores
from attnlab.stages.prepare import prepared_data
from attnlab.stages.run import Run, open_run

Figures = dict[str, Any]
SHOWN = 200  # examples kept for the report


def main(arguments: list[str]) -> None:
    """Judge a run that is trained."""
    parser = argparse.ArgumentParser(prog="attnlab evaluate", description=__doc__)
    parser.add_argument("run", help="folder of the run")
    run = open_run(parser.parse_args(arguments).run)
    show(run, evaluate(run))


def evaluate(run: Run) -> Figures:
    """Every figure of the test split; also written to metrics.json, with maps beside it."""
    from attnlab.stages.train import device, load_learner

    prepared = prepared_data(run.config)
    learner = load_learner(run, prepared).to(device(run.config))
    started = time.monotonic()
    figures = _judge(run, prepared, learner)
    figures["cost"] = {
        "parameters": sum(p.numel() for p in learner.parameters()),
        "train_seconds": round(run.status.get("train_seconds", 0.0), 1),
        "evaluate_seconds": round(time.monotonic() - started, 1),
    }
    figures = _defined(figures)
    text = json.dumps(figures, indent=2, allow_nan=False) + "\n"
    (run.folder / "metrics.json").write_text(text, encoding="utf-8")
    return figures


@torch.no_grad()
def _judge(run: Run, prepared: Prepared, learner: Learner) -> Figures:
    """One pass over the test split with the model as it is, and one for each changed map."""
    model, task = learner.model, learner.task
    changed = {name: ExactMatch() for name in MAP_CHANGES}
    shown: list[ShownExample] = []
    heads, losses = HeadMaps(), list[tuple[float, float]]()
    examples = prepared.examples("test")
    known = (prepared.codec.target(example) for example in prepared.examples("train")[:2000])
    prior = PositionPrior.fit(target for target in known if target is not None)

    def new_judge() -> Judge:
        return Judge(task, map_metrics(run.config.metrics, prior)).to(learner.device)

    judge, known_nothing = new_judge(), dict[str, Judge]()
    for number, batch in enumerate(_batches(run, prepared, learner.device)):
        rows = batch.target.row_mask.sum(1).tolist()[: SHOWN - len(shown)]
        with Tap(model, task.map) as tap, heads.watch(model, rows):
            scores = model(batch)
        losses += zip(*(side.tolist() for side in task.losses(scores, batch)), strict=True)
        weights = tap.log_weights().exp().mean(1)  # batch x queries x keys
        answers = model.answer(batch)  # type: ignore[operator]
        judge.update(batch, scores, answers, weights)
        for name, map_ in controls(batch.target, prior, seed=number).items():
            known_nothing.setdefault(name, new_judge()).look(map_, batch)
        texts = task.texts(answers)
        for name, change in MAP_CHANGES.items():
            with Intervention(model, task.map, change):
                changed[name].update(texts, task.texts(model.answer(batch)))  # type: ignore[operator]
        shown += _shown(batch, examples, prepared.codec, texts, weights)[
            : max(SHOWN - len(shown), 0)
        ]
    save_examples(shown, run.folder / "examples.json")
    heads.save(run.folder)
    ids = [example.id for example in examples]
    save_scores(run.folder, ids, losses, [*judge.answers, *judge.maps], changed)
    draw_maps(shown[: run.config.logger.maps_examples], run.folder / "maps")
    intervals = {k: v for m in (*judge.answers, *judge.maps) for k, v in m.intervals().items()}  # type: ignore[operator]
    trust = {f"trust/{k}": m.intervals()["exact_match"] for k, m in changed.items()}
    intervals |= {k: Interval(1 - i.mean, 1 - i.high, 1 - i.low) for k, i in trust.items()}
    return {
        "answer": {k: v for k, v in judge.compute().items() if "/" not in k},
        "attention": judge.compute_maps(),
        "trust": {name: 1 - same.compute()["exact_match"] for name, same in changed.items()},
        "controls": {name: each.compute_maps() for name, each in known_nothing.items()},
        "intervals": {name: [i.low, i.high] for name, i in intervals.items()},
    }


def _batches(run: Run, prepared: Prepared, device: torch.device) -> Iterator[Batch]:
    codec, size = prepared.codec, run.config.trainer.batches.eval_size
    items = [codec.encode(example, i) for i, example in enumerate(prepared.examples("test"))]
    loader = eval_loader(items, size, pin=False)
    for batch in track(
        loader, "evaluating", disable=not run.config.trainer.progress, transient=True
    ):
        yield batch.to(device)


def _shown(
    batch: Batch, examples: list[Any], codec: Codec, texts: list[str], weights: Tensor
) -> list[ShownExample]:
    rows: list[ShownExample] = []
    for i, place in enumerate(batch.index.tolist()):
        example = examples[place]
        rows.append(ShownExample.of(example, codec, texts[i], weights[i].float().cpu().numpy()))
    return rows


def _defined(figures: Any) -> Any:
    """A figure that is not defined is null: JSON has no NaN."""
    if isinstance(figures, dict):
        return {name: _defined(value) for name, value in figures.items()}
    if isinstance(figures, list):
        return [_defined(value) for value in figures]
    return None if isinstance(figures, float) and math.isnan(figures) else figures


def _number(value: float | None, form: str = ".4f") -> str:
    return "" if value is None else format(value, form)


def show(run: Run, figures: Figures) -> None:
    """The closing table, and where everything is."""
    console = Console()
    console.width = max(console.width, 100)
    table = Table(title=run.config.name, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("", "", "test", "95% interval", "uniform", "oracle"):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    for name, value in figures["answer"].items():
        table.add_row("answer", name, _number(value), _range(figures, name))
    for name, value in figures["attention"].items():
        known = [_number(figures["controls"][control][name]) for control in ("uniform", "oracle")]
        table.add_row("attention", name, _number(value), _range(figures, name), *known)
    for name, value in figures["trust"].items():
        table.add_row("trust", f"changed by a {name} map", _number(value))
    table.add_row("cost", "seconds of training", f"{figures['cost']['train_seconds']:.1f}")
    table.add_row("cost", "parameters", f"{figures['cost']['parameters']:,}")
    console.print(table)
    for name in ("checkpoints/best.ckpt", "metrics.json", "maps", "report.html"):
        if (run.folder / name).exists():
            console.print(f"{name.split('/')[-1]:<14}{run.folder / name}", soft_wrap=True)


def _range(figures: Figures, name: str) -> str:
    low_high = figures["intervals"].get(name)
    if not low_high or None in low_high:
        return ""
    return f"{low_high[0]:.4f} - {low_high[1]:.4f}"
