"""What speaks against training examples, from what held-out models say; and the page about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from attnlab.data.prepared import Prepared
from attnlab.datasets.duplicates import NearTwin, Twin, contents_of, near_twins, twins
from attnlab.metrics.label_quality import (
    MapLimits,
    map_limits,
    unusual_losses,
    wrong_labels,
)
from attnlab.report.examples import ShownExample, gold_text
from attnlab.report.map_pictures import draw_map
from attnlab.report.sections import Section
from attnlab.stages.held_out import HeldOut

MOST_ROWS, MOST_PICTURES = 50, 12  # that the page shows
LEAST_GAIN = 0.05  # in accuracy over the commonest label, for labels to be doubted
REASONS = {
    "label": "answers in doubt",
    "map": "gold maps in doubt",
    "twin": "repetitions",
    "leak": "leaks from val or test",
    "near": "nearly the same as another",
    "outlier": "far from all others",
}


@dataclass(frozen=True)
class Doubt:
    """What speaks against one training example; None is nothing."""

    held_out: HeldOut
    label: str | None = None  # why its answer is probably wrong
    map: str | None = None  # why its gold map is
    twin: str | None = None  # the earlier training example that it repeats
    leak: str | None = None  # the held-out example that it repeats
    near: str | None = None  # the example that it nearly repeats, which may be as it should
    outlier: str | None = None  # how far it is from all others, which may be as it should

    def line(self) -> dict[str, Any]:
        """As `dataset.annotations` reads it, with reasons and figures for people."""
        reasons = {name: getattr(self, name) for name in REASONS}
        names = ("loss", "map_loss", "agreement", "outlier_score")
        figures = {name: getattr(self.held_out, name) for name in names}
        return {
            "id": self.held_out.id,
            "keep": not (self.label or self.twin or self.leak),
            "map_weight": 0.0 if self.map else 1.0,
            "doubts": {name: why for name, why in reasons.items() if why},
            **{name: round(value, 4) for name, value in figures.items() if np.isfinite(value)},
        }


def examined(held_out: Sequence[HeldOut], prepared: Prepared) -> list[Doubt]:
    """What speaks against each example."""
    labels = dict(_doubtful_answers(held_out))
    limits = limits_of(held_out)
    threshold = None if limits is None else limits.threshold
    splits = {split: prepared.examples(split) for split in ("train", "val", "test")}
    contents = contents_of(splits)
    same = {twin.id: twin for twin in twins(contents)}
    near = {twin.id: twin for twin in near_twins(contents)}
    far = unusual_losses(np.array([each.outlier_score for each in held_out]))
    doubts = []
    for each, unusual in zip(held_out, far, strict=True):
        outlier = f"{each.outlier_score:.1f} times as far as usual" if unusual else None
        doubt = Doubt(each, labels.get(each.id), outlier=outlier)
        if threshold is not None and each.map_loss > threshold:
            doubt = replace(doubt, map=f"loss {each.map_loss:.2f}, above {threshold:.2f}")
        doubts.append(_with_twins(doubt, same.get(each.id), near.get(each.id)))
    return doubts


def limits_of(held_out: Sequence[HeldOut]) -> MapLimits | None:
    """Where wrong gold maps begin; None where there is no gold."""
    own = np.array([each.map_loss for each in held_out])
    others = np.array([each.others for each in held_out])
    return None if np.isnan(own).all() else map_limits(own, others)


def _with_twins(doubt: Doubt, twin: Twin | None, near: NearTwin | None) -> Doubt:
    if near is not None:
        where = "" if near.split == "train" else f" of {near.split}"
        doubt = replace(doubt, near=f"{near.other}{where}, {near.share:.0%} of their words")
    if twin is None:
        return doubt
    answer = "" if twin.same_answer else ", with another answer"
    if twin.split == "train":
        return replace(doubt, twin=f"{twin.other}{answer}")
    return replace(doubt, leak=f"{twin.other} of {twin.split}{answer}")


def _doubtful_answers(held_out: Sequence[HeldOut]) -> Iterator[tuple[str, str]]:
    """Ids of examples with answers that are probably wrong, and why."""
    if any(each.label is None for each in held_out):
        losses = np.array([each.loss for each in held_out])
        usual = float(np.median(losses))
        for each, wrong in zip(held_out, unusual_losses(losses), strict=True):
            if wrong:
                yield each.id, f"loss {each.loss:.2f}, usual is {usual:.2f}"
    elif not too_weak(held_out):
        probabilities = np.array([each.probabilities for each in held_out])
        labels = np.array([each.label for each in held_out])
        for each, wrong in zip(held_out, wrong_labels(probabilities, labels), strict=True):
            if wrong:
                yield each.id, f"{each.prediction} is likelier ({max(each.probabilities):.2f})"


def too_weak(held_out: Sequence[HeldOut]) -> bool:
    """Whether held-out labels are predicted hardly better than by the commonest one."""
    labels = [each.label for each in held_out]
    right = sum(int(np.argmax(each.probabilities)) == each.label for each in held_out)
    most = max(Counter(labels).values())
    return (right - most) / len(labels) < LEAST_GAIN


def sections(doubts: Sequence[Doubt], prepared: Prepared) -> Iterator[Section]:
    """The parts of the page."""
    yield _answers(doubts, prepared)
    if limits := limits_of([doubt.held_out for doubt in doubts]):
        yield _maps(doubts, limits, prepared)
    for name, title, like in (
        ("leak", "Leaks", "a validation or test example; training leaves them out"),
        ("twin", "Repetitions", "an earlier training example, which is kept"),
        ("near", "Nearly the same", "another example but for a few words; training keeps them"),
    ):
        rows = [_row(d, name, prepared) for d in doubts if getattr(d, name)]
        note = f"{len(rows)} training examples whose inputs are those of {like}."
        yield Section(title, note, ("example", "input", "answer", "same as"), rows[:MOST_ROWS])
    far = sorted((d for d in doubts if d.outlier), key=lambda doubt: -doubt.held_out.outlier_score)
    note = f"{len(far)} training examples, by the states of held-out models; training keeps them."
    rows = [_row(doubt, "outlier", prepared) for doubt in far[:MOST_ROWS]]
    yield Section("Far from all others", note, ("example", "input", "answer", "how far"), rows)


def _answers(doubts: Sequence[Doubt], prepared: Prepared) -> Section:
    wrong = sorted((d for d in doubts if d.label), key=lambda doubt: -doubt.held_out.loss)
    note = (
        f"{len(wrong)} answers that models trained on the other folds think unlikely, the "
        "unlikeliest first. Training leaves them out."
    )
    held_out = [doubt.held_out for doubt in doubts]
    if all(each.label is not None for each in held_out) and too_weak(held_out):
        note = (
            "Models trained on the other folds know hardly more than the commonest label: nothing "
            "can be said of answers."
        )
    rows = [_row(doubt, "label", prepared) for doubt in wrong[:MOST_ROWS]]
    return Section("Answers in doubt", note, ("example", "input", "answer", "why"), rows)


def _maps(doubts: Sequence[Doubt], limits: MapLimits, prepared: Prepared) -> Section:
    worst = sorted((d for d in doubts if d.map), key=lambda doubt: -doubt.held_out.map_loss)
    verdict = "these are hardly apart, so that nothing can be said of maps"
    if limits.threshold is not None:
        verdict = f"{len(worst)} gold maps lie above {limits.threshold:.2f}, between both"
    note = (
        f"The loss of held-out maps is {limits.own:.2f} on gold and {limits.others:.2f} on gold of "
        f"other examples (medians); {verdict}. Darkness is weight, a frame marks gold."
    )
    pictures = [
        (f"{d.held_out.id}: {d.map}", draw_map(_shown(d, prepared))) for d in worst[:MOST_PICTURES]
    ]
    return Section("Gold maps in doubt", note, pictures=pictures)


def _shown(doubt: Doubt, prepared: Prepared) -> ShownExample:
    """The example with gold and the held-out map."""
    record, codec = doubt.held_out, prepared.codec
    example = prepared.examples("train")[record.position]
    return ShownExample.of(example, codec, record.prediction, record.map)


def _row(doubt: Doubt, reason: str, prepared: Prepared) -> tuple[str, ...]:
    example = prepared.examples("train")[doubt.held_out.position]
    texts = [" ".join(map(str, v)) for v in example.inputs.values() if isinstance(v, list)]
    answer = gold_text(example, prepared.codec)
    return doubt.held_out.id, " | ".join(texts)[:200], answer[:80], getattr(doubt, reason)
