"""The figures of a split: one pass of a trained model over it, beside its controls."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import torch
from rich.console import Console
from rich.progress import track
from torch.utils.data import Subset
from torchmetrics import Metric

from attnlab.attention.taps import MAP_CHANGES
from attnlab.data.batch import Batch
from attnlab.data.codec import Codec
from attnlab.data.example import Example, Split
from attnlab.data.loader import Items, eval_loader
from attnlab.data.prepared import Prepared
from attnlab.data.supervision import labelled
from attnlab.explain.block_reading import block_readings
from attnlab.metrics.calibration import Calibration, ScoredChoices, temperature
from attnlab.metrics.controls import PositionPrior, controls, one_against_others
from attnlab.metrics.figures import Interval, defined, facts
from attnlab.metrics.pooled import map_metrics
from attnlab.metrics.read_blocks import ReadBlocks, positions_of_rows, recorded_choices
from attnlab.metrics.text import Changed
from attnlab.models.ensemble import changed_map, members
from attnlab.report.calibration_pictures import FILE as CALIBRATION
from attnlab.report.calibration_pictures import draw_calibration
from attnlab.report.classes import draw_confusion
from attnlab.report.example_choice import choose_shown, largest_map
from attnlab.report.examples import ShownExample, save_examples
from attnlab.report.map_pictures import draw_blocks, draw_head_grids, draw_maps
from attnlab.report.recorded_maps import HeadMaps
from attnlab.report.summary import FOLDER as PANELS
from attnlab.report.summary import checksum, draw_panels
from attnlab.report.tables import HISTORY, hashes, save_classes, save_figures, save_scores
from attnlab.stages.run import Run
from attnlab.stages.trained_run import TrainedRun
from attnlab.tasks.task import Task
from attnlab.text_files import write_whole
from attnlab.training.evaluator import Evaluator
from attnlab.training.learner import Learner

Figures = dict[str, Any]
SHOWN = 200  # examples kept for the report
WEIGHTS_AT_ONCE = 2**24  # of one head, in the maps of the examples that are evaluated together
LARGEST_MAP = 2**26  # weights of one head, 8,192 x 8,192: larger maps without gold are left out


def evaluate(trained: TrainedRun, folder: Path | None = None, split: Split = "test") -> Figures:
    """Every figure of a split, also written to metrics.json, with maps beside it.

    Args:
        trained: a trained run, perhaps with other settings of its metrics.
        folder: where files go; the run's own folder if None.
        split: train, val or test.
    """
    run, prepared, learner = trained.run, trained.prepared, trained.learner
    folder = folder or run.folder
    started = time.monotonic()
    evaluation = Evaluation(run, prepared, learner, split)
    batches = _batches(run, prepared, learner.device, split)
    for number, batch in enumerate(part for whole in batches for part in _parts(whole)):
        evaluation.update(number, batch)
    evaluation.save(folder)
    figures = evaluation.figures()
    if evaluation.choices.size:
        calibration = Calibration.of(evaluation.choices, _fitted_temperature(trained))
        _save_calibration(calibration, folder)
        figures["calibration"] = calibration.figures
        figures["intervals"] |= {n: [i.low, i.high] for n, i in calibration.intervals.items()}
    figures["cost"] = {
        "parameters": sum(
            p.numel() for each in members(learner.model) for p in each.model.parameters()
        ),
        "trained_parameters": run.status.get("trained_parameters"),
        "train_seconds": round(run.status.get("train_seconds", math.nan), 1),
        "peak_memory_mib": round(run.status.get("peak_memory_mib", math.nan), 1),
        "evaluate_seconds": round(time.monotonic() - started, 1),
    }
    figures["about"] = {
        name: fact.plain()
        for group in ("answer", "attention", "blocks", "calibration", "cost")
        for name in figures.get(group, {})
        if (fact := facts(name)) is not None
    }
    figures["files"], figures["history"] = hashes(folder), hashes(run.folder, HISTORY)
    figures = defined(figures)
    figures["checksum"] = checksum(figures)
    text = json.dumps(figures, indent=2, allow_nan=False) + "\n"
    write_whole(folder / "metrics.json", text)
    draw_panels(figures, folder)
    save_figures(figures, folder)
    return figures


class Evaluation:
    """What one pass over a split collects."""

    def __init__(
        self, run: Run, prepared: Prepared, learner: Learner, split: Split = "test"
    ) -> None:
        self.run, self.prepared, self.learner = run, prepared, learner
        self.examples = prepared.examples(split)
        known = (
            prepared.codec.target_over_words(example)
            for example in prepared.examples("train")[:2000]
        )
        self.prior = PositionPrior.fit(target for target in known if target is not None)
        learner.task.fit(labelled(prepared.examples("train"), run.config.dataset.labelled))
        chosen = choose_shown(self.examples, prepared.codec, SHOWN)
        self.with_maps = _maps_fit([self.examples[i] for i in chosen], prepared.codec)
        self.chosen = set(chosen) if self.with_maps else set[int]()  # positions
        self.evaluator = self._new_evaluator()
        self.controls: dict[str, Evaluator] = {}  # by name, of control maps
        self.answer_controls: dict[str, list[Metric]] = {}  # by name, of control answers
        changes = MAP_CHANGES if run.config.task.map_decides and self.with_maps else {}
        self.changed = {name: Changed() for name in changes}
        self.heads = HeadMaps()
        self.blocks = ReadBlocks()  # nothing where no structure chooses blocks
        self.shown: list[ShownExample] = []
        self.annotated_by_several = any(
            e.target is not None and len(e.target.annotators) > 1 for e in self.examples[:200]
        )
        self.choices = ScoredChoices()  # of tasks whose choices have probabilities
        self.losses: list[tuple[float, float]] = []  # of each example: its sum, how many units

    def _new_evaluator(self) -> Evaluator:
        metrics = map_metrics(self.run.config.metrics, self.prior) if self.with_maps else []
        return Evaluator(self.learner.task, metrics).to(self.learner.device)

    @torch.no_grad()
    def update(self, number: int, batch: Batch) -> None:
        """Add a batch: the model as it is, control maps and answers, and changed maps."""
        model, task, codec = self.learner.model, self.learner.task, self.prepared.codec
        chosen = [i for i, index in enumerate(batch.index.tolist()) if index in self.chosen]
        recorded = chosen if len(members(model)) == 1 else []  # heads of one model say little here
        with (
            task.tap(model) if self.with_maps else nullcontext() as tap,
            self.heads.record(model, recorded) as probes,
            recorded_choices(model) as calls,
        ):
            scores = task.run(model, batch)
        if calls:
            positions = positions_of_rows(task, model, scores, batch)
            self.blocks.update(calls, batch.target, positions)
        rows = list(_rows(task, scores, batch))
        causal = self.run.config.task.causal and len(members(model)) == 1
        of_chosen = [(i, rows[i]) for i in chosen]
        readings = block_readings(calls if causal else [], getattr(tap, "calls", ()), of_chosen)
        self.heads.keep(probes, [rows[i] for i in chosen])
        answers = task.answer(model, batch)
        weights = None
        if tap is not None:
            weights = tap.log_weights().exp().mean(1)  # batch x queries x keys
            weights = task.as_gold(weights, scores, batch)
            self._update_control_maps(number, batch)
        self.evaluator.update(batch, scores, answers, weights)
        self.losses += zip(*(side.tolist() for side in task.losses(scores, batch)), strict=True)
        if graded := task.graded(scores, batch):
            self.choices.add(*graded)
        # Examples are read from disk only by the controls that need them.
        examples: Any = Subset(cast(Any, self.examples), batch.index.tolist())
        texts = task.texts(answers, batch)
        made = task.controls(batch, scores, examples)
        for name, (control_scores, control_answers) in made.items():
            metrics = self.answer_controls.setdefault(name, task.metrics())
            task.update_metrics(metrics, batch, control_scores, control_answers)
        for name in self.changed:
            with changed_map(model, task.map, MAP_CHANGES[name]):
                other = task.answer(model, batch)
            self.changed[name].update(task.changed(answers, other, batch))
        if weights is None:
            return
        for i, reading in zip(chosen, readings, strict=True):  # keep them for the report
            map_, answer = (each[i].float().cpu().numpy() for each in (weights, answers))
            example = self.examples[int(batch.index[i])]
            self.shown.append(ShownExample.of(example, codec, texts[i], map_, answer, reading))

    def _update_control_maps(self, number: int, batch: Batch) -> None:
        if self.annotated_by_several:
            codec, places = self.prepared.codec, batch.index.tolist()
            golds = [codec.target_over_words(self.examples[place]) for place in places]
            for map_, gold in one_against_others(golds):
                control = self.controls.setdefault("annotator", self._new_evaluator())
                control.update_maps(map_, gold)
        for name, map_ in controls(batch.target_over_words, self.prior, seed=number).items():
            control = self.controls.setdefault(name, self._new_evaluator())
            if name == "oracle":
                control.update_best(batch.target_over_words)
            else:
                control.update_maps(map_, batch.target_over_words)

    def save(self, folder: Path) -> None:
        """Write what reports show: examples, heads, figures of each example, pictures."""
        save_examples(self.shown, folder / "examples.json")
        self.heads.save(folder)
        ids = [example.id for example in self.examples]
        metrics = [*self.evaluator.answers, *self.evaluator.maps]
        save_scores(folder, ids, self.losses, metrics, self.changed)
        if classes := save_classes(folder, self.evaluator.answers):
            draw_confusion(classes, folder / PANELS / "confusion.png")
        drawn = self.shown[: self.run.config.logger.maps_examples]
        draw_maps(drawn, folder / "maps")
        draw_blocks(drawn, folder / "maps")
        draw_head_grids(drawn, self.heads.examples, folder / "maps")

    def figures(self) -> Figures:
        """Every figure of the split, by what it is about."""
        computed = self.evaluator.compute()
        blocks = {"blocks": self.blocks.compute()} if len(self.blocks.examples) else {}
        return blocks | {
            "answer": {name: value for name, value in computed.items() if "/" not in name},
            "attention": self.evaluator.compute_maps(),
            "trust": {n: m.compute()["changed"] for n, m in self.changed.items()},
            "controls": {name: each.compute_maps() for name, each in self.controls.items()},
            "answer_controls": {n: _computed(each) for n, each in self.answer_controls.items()},
            "intervals": {name: [i.low, i.high] for name, i in self._intervals()},
        }

    def _intervals(self) -> Iterator[tuple[str, Interval]]:
        blocks = [self.blocks] if len(self.blocks.examples) else []
        for metric in (*self.evaluator.answers, *self.evaluator.maps, *blocks):
            yield from metric.intervals().items()  # type: ignore[operator]
        for name, metric in self.changed.items():
            yield f"trust/{name}", metric.intervals()["changed"]


@torch.no_grad()
def _fitted_temperature(trained: TrainedRun) -> float:
    """The temperature of the validation split; no test example is read."""
    task, model, choices = trained.task, trained.model, ScoredChoices()
    for batch in _batches(trained.run, trained.prepared, trained.device, "val"):
        if graded := task.graded(task.run(model, batch), batch):
            choices.add(*graded)
    return temperature(choices)


def _save_calibration(calibration: Calibration, folder: Path) -> None:
    content = defined(calibration.plain())
    write_whole(folder / CALIBRATION, json.dumps(content, allow_nan=False) + "\n")
    draw_calibration(content, folder)


def _maps_fit(examples: Sequence[Example], codec: Codec) -> bool:
    """Whether maps of such examples are computed; prints a line if not."""
    rows, keys = largest_map(examples, codec)
    if rows * keys <= LARGEST_MAP or any(example.target is not None for example in examples):
        return True
    size = f"maps of {rows:,} x {keys:,} weights"
    print(f"{size} are left out: no figures of them, none in the report", file=sys.stderr)
    return False


def _parts(batch: Batch) -> Iterator[Batch]:
    """The batch, or a few examples of it at a time, so that their maps fit into memory."""
    weights = batch.target.weights[0].numel()
    count = max(WEIGHTS_AT_ONCE // max(weights, 1), 1)
    if count >= len(batch):
        yield batch
        return
    for some in torch.arange(len(batch), device=batch.index.device).split(count):
        yield batch.select(some)


def _rows(task: Task, scores: Any, batch: Batch) -> Iterator[list[int]]:
    """Of each example the rows of the model's map that belong to rows of gold."""
    rows = task.rows(scores, batch)
    for index, count in enumerate(batch.target.row_mask.sum(1).tolist()):
        yield list(range(count)) if rows is None else rows[index, :count].tolist()


def _computed(metrics: list[Metric]) -> dict[str, float]:
    return {name: value for metric in metrics for name, value in metric.compute().items()}


def _batches(
    run: Run, prepared: Prepared, device: torch.device, split: Split = "test"
) -> Iterator[Batch]:
    """A split, each example encoded when its batch is due."""
    items = Items(prepared.examples(split), prepared.codec, kept=0)
    loader = eval_loader(items, run.config.trainer.batches.eval_size, pin=False)
    console = Console(stderr=True)
    hidden = not (run.config.trainer.progress and console.is_terminal)
    for batch in track(loader, "evaluating", disable=hidden, transient=True, console=console):
        yield batch.to(device)
