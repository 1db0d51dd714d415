"""The attacks of `attnlab attack` over examples of the test split, and what came of them."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import rich.table
import torch
from rich import box
from rich.console import Console
from torch import Tensor

from attnlab.data.batch import collate
from attnlab.data.inputs import within
from attnlab.errors import UserError
from attnlab.explain.attacks import (
    SERIES,
    Attacked,
    Goal,
    answer_lost,
    ascended,
    map_distance,
    map_lost,
    observed,
)
from attnlab.explain.text_attacks import (
    Change,
    TextAttacked,
    deletions,
    greedy,
    random_changes,
    synonyms,
    typos,
)
from attnlab.metrics.figures import Interval, bootstrap, share_interval
from attnlab.report.sections import Section
from attnlab.stages.held_out import agreement
from attnlab.stages.trained_run import TrainedRun

MOST_SHOWN = 20  # texts with the answers that they changed


@dataclass
class Outcome:
    """What one attack did to every example."""

    attack: str
    level: str = ""
    right: list[bool] = field(default_factory=list)  # whether the answer is gold's
    moved: list[float] = field(default_factory=list)  # divergence of the map from the clean one
    mass: list[float] = field(default_factory=list)  # of the map on gold; NaN without gold
    changed: list[float] = field(default_factory=list)  # share of words, or largest change
    shown: list[tuple[str, str, str, str, str]] = field(default_factory=list)  # of texts

    def figures(self) -> dict[str, Interval | float]:
        """Accuracy, how far the map moved, its mass on gold, and how much was changed."""
        share = float(np.mean(self.right))
        return {
            "accuracy": share_interval(share, len(self.right)),
            "map_moved": _mean(self.moved),
            "mass_on_gold": _mean(self.mass),
            "changed": float(np.mean(self.changed)),
        }

    def plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        figures = {
            name: [v.mean, v.low, v.high] if isinstance(v, Interval) else v
            for name, v in self.figures().items()
        }
        return {"attack": self.attack, "level": self.level, **figures}


def _mean(values: Sequence[float]) -> Interval:
    known = [value for value in values if np.isfinite(value)]
    return bootstrap(known) if known else Interval(*[float("nan")] * 3)


def attacked(
    trained: TrainedRun, kinds: Sequence[str], options: argparse.Namespace
) -> list[Outcome]:
    """The model without an attack, then under each."""
    codec = trained.prepared.codec
    if codec.inputs[codec.attended].form == "text":
        return list(_texts(trained, kinds, options))
    return _values(trained, kinds, options)


def _values(
    trained: TrainedRun, kinds: Sequence[str], options: argparse.Namespace
) -> list[Outcome]:
    """Of pictures and sounds."""
    prepared, size = trained.prepared, trained.config.trainer.batches.eval_size
    examples = prepared.examples("test")[: options.examples]
    outcomes: dict[tuple[str, str], Outcome] = {}
    for start in range(0, len(examples), size):
        some = examples[start : start + size]
        items = [prepared.codec.encode(each, i) for i, each in enumerate(some)]
        batch = collate(items).to(trained.device)
        subject = Attacked(trained.model, trained.task, batch, prepared.codec.attended)
        for name, level, values in _changed_values(subject, kinds, options):
            outcome = outcomes.setdefault((name, level), Outcome(name, level))
            outputs = subject.outputs(values)
            outcome.right += (~subject.wrong(outputs)).tolist()
            outcome.moved += subject.moved(outputs.maps).tolist()
            outcome.mass += agreement(outputs.maps, batch.target).tolist()
            outcome.changed += (values - subject.values).abs().flatten(1).amax(1).tolist()
    return list(outcomes.values())


def _changed_values(
    subject: Attacked, kinds: Sequence[str], options: argparse.Namespace
) -> Iterator[tuple[str, str, Tensor]]:
    """Name and level of each attack with the values that it makes."""
    size, steps, restarts = options.size, options.steps, options.restarts
    yield "none", "", subject.values
    if set(kinds) & {"fgsm", "pgd", "map"}:
        random = torch.Generator().manual_seed(0)
        signs = torch.rand(subject.values.shape, generator=random).to(subject.values) - 0.5
        moved = within(subject.values + size * signs.sign(), subject.values, size)
        yield "random signs", f"{size:g}", moved
    ways: dict[str, tuple[Goal, int, int]] = {
        "fgsm": (answer_lost, 1, 0),
        "pgd": (answer_lost, steps, restarts),
        "map": (map_lost, steps, restarts),
    }
    for name in kinds:
        if name in ways:
            goal, count, starts = ways[name]
            yield name, f"{size:g}", ascended(subject, goal, size, count, starts)
        else:
            change, levels = SERIES[name]
            for level in levels:
                yield name, f"{level:g}", change(subject.values, level)


def _texts(
    trained: TrainedRun, kinds: Sequence[str], options: argparse.Namespace
) -> Iterator[Outcome]:
    """Of texts, each by itself."""
    codec = trained.prepared.codec
    if "deletions" in kinds and codec.layout.rows == "input":
        raise UserError("--kinds: 'deletions' would leave tags without words; try: typos,synonyms")
    changes: dict[str, Change] = {"typos": typos, "deletions": deletions}
    if "synonyms" in kinds:
        changes["synonyms"] = synonyms(trained.model, codec)
    examples = trained.prepared.examples("test")[: options.examples]
    subjects = [TextAttacked(trained.model, trained.task, codec, each) for each in examples]
    subjects = [subject for subject in subjects if subject.example.inputs[codec.attended]]
    none = Outcome("none")
    for subject in subjects:
        _add(none, subject, subject.words, trained)
    yield none
    for name in kinds:
        for way, make in (("random", random_changes), ("greedy", greedy)):
            outcome = Outcome(name, way)
            for subject in subjects:
                most = max(1, round(options.share * len(subject.words)))
                _add(outcome, subject, make(subject, changes[name], most), trained)
            yield outcome


def _add(outcome: Outcome, subject: TextAttacked, words: list[str], trained: TrainedRun) -> None:
    """Add what the model makes of the example with other words."""
    own, name = subject.words, subject.example.attended
    aligned = len(words) == len(own)  # so that maps and gold can be compared word by word
    changed = replace(subject.example, inputs=subject.example.inputs | {name: words})
    both = [subject.example, changed if aligned else replace(changed, target=None)]
    batch = collate([subject.codec.encode(each, i) for i, each in enumerate(both)])
    batch = batch.to(trained.device)
    outputs = observed(trained.model, trained.task, batch)
    gold, predicted = trained.task.texts(batch.answer.values, batch)[0], outputs.texts[1]
    maps, target = batch.over_words(outputs.maps), batch.target_over_words
    moved = map_distance(maps[1:], maps[:1], target.row_mask[1:])
    outcome.right.append(predicted == gold)
    outcome.moved.append(float(moved) if aligned else float("nan"))
    outcome.mass.append(float(agreement(maps, target)[1]))
    differ = sum(one != other for one, other in zip(own, words, strict=False))
    outcome.changed.append((differ if aligned else len(own) - len(words)) / len(own))
    if outputs.texts[0] == gold != predicted and len(outcome.shown) < MOST_SHOWN:
        joint = "" if all(len(word) == 1 for word in own) else " "
        changes = ", ".join(differences(own, words))
        outcome.shown.append((subject.example.id, gold, predicted, changes, joint.join(own)))


def differences(own: Sequence[str], words: Sequence[str]) -> Iterator[str]:
    """Each word that was replaced, with its replacement, or each that was left out."""
    if len(own) == len(words):
        pairs = zip(own, words, strict=True)
        yield from (f"{one} → {other}" for one, other in pairs if one != other)
        return
    left = list(words)
    for word in own:
        if left and left[0] == word:
            del left[0]
        else:
            yield f"{word} left out"


def report(outcomes: Sequence[Outcome]) -> list[Section]:
    """The table of all attacks, and the texts that changed answers."""
    rows = [
        (each.attack, each.level, *(_cell(value) for value in each.figures().values()))
        for each in outcomes
    ]
    note = (
        "Accuracy is the share of answers that equal gold. `map moved` is the Jensen-Shannon "
        "divergence of the map from the one without attack, at most 0.69; `changed` is the share "
        "of words, or the largest change of a value. 95 % intervals."
    )
    columns = ("attack", "level", "accuracy", "map moved", "mass on gold", "changed")
    sections = [Section("Under attack", note, columns, rows)]
    for each in outcomes:
        if each.shown and each.level == "greedy":
            names = ("example", "gold", "answer under attack", "changes", "text")
            note = "Right answers that became wrong, by the greedy attack."
            sections.append(Section(each.attack, note, names, each.shown))
    return sections


def _cell(value: Interval | float) -> str:
    if not isinstance(value, Interval):
        return f"{value:.3f}"
    return "" if np.isnan(value.mean) else f"{value.mean:.3f} ({value.low:.3f} to {value.high:.3f})"


def show(title: str, outcomes: Sequence[Outcome]) -> None:
    """Print the table."""
    table = rich.table.Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    (section, *_) = report(outcomes)
    for name in section.columns:
        table.add_column(name, no_wrap=True)
    for row in section.rows:
        table.add_row(*map(str, row))
    console = Console(markup=False, emoji=False)
    console.width = max(console.width, 110)
    console.print(table)
