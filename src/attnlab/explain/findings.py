"""`Explanations` of answers and how far they agree; `Finding`: a test's figure and verdict."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from attnlab.data.codec import Codec
from attnlab.data.example import Example, named
from attnlab.data.inputs import Sentences, Text
from attnlab.data.target_batch import TargetBatch
from attnlab.explain.methods import Method, explained
from attnlab.explain.subject import Subject
from attnlab.metrics.agreement import kendall
from attnlab.metrics.controls import KeyFrequency, PositionPrior, controls
from attnlab.metrics.figures import Interval, bootstrap, with_width
from attnlab.metrics.rationale import AveragePrecision

UNKNOWN = Interval(math.nan, math.nan, math.nan)
LITTLE, MUCH = 0.05, 0.5  # shares of changed answers between which the map takes part

Scores = Mapping[str, Tensor]  # by method: batch x queries x keys

DIGITS = 4  # significant digits that are written

FITTED_ON = 2000  # examples of the training split


@dataclass(frozen=True)
class Finding:
    """One figure of one test, over all examples."""

    test: str
    figure: str
    value: Interval
    verdict: str = ""  # of the test, beside the first of its figures
    known: dict[str, float] = field(default_factory=dict)  # the same figure for controls and limits
    undefined: int = 0  # decisions without such a figure


def over_examples(values: Sequence[Tensor]) -> Interval:
    """The mean over examples with its interval, from one tensor (examples) for each batch."""
    return interval_of(torch.cat(list(values)).double().tolist())


def share_over_examples(values: Sequence[Tensor]) -> Interval:
    """The same of shares, with a width where all of them are 0 or all are 1."""
    return with_width(over_examples(values), sum(map(len, values)))


def who_decides(share: Interval) -> str:
    """The verdict on a share of changed answers; both, where its interval reaches into two."""
    ends = [share.mean if math.isnan(end) else end for end in (share.low, share.high)]
    least, most = (_decides(end) for end in ends)
    return least if least == most else f"{least}, or {most.removeprefix('the attention ')}"


def _decides(share: float) -> str:
    if share < LITTLE:
        return "the attention is not what decides"
    if share < MUCH:
        return "the attention takes part in the decision"
    return "the attention decides"


def percent(share: float) -> str:
    """A share in percent."""
    return f"{100 * share:.0f}%" if share == 0 or share >= 0.01 else f"{100 * share:.1f}%"


@dataclass
class Agreement:
    """Average precision against gold, and Kendall's tau between every two methods.

    Average precision ranks units by their signed scores; tau compares absolute scores. Both keep
    one value an example.
    """

    gold: dict[str, AveragePrecision] = field(default_factory=dict)
    taus: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    undefined: dict[tuple[str, str], int] = field(default_factory=dict)

    def update(self, scores: Scores, subject: Subject, target: TargetBatch) -> None:
        for name, values in scores.items():
            metric = self.gold.setdefault(name, AveragePrecision())
            metric.update(with_rows(values, target.weights.shape[1]), target)
        for pair in combinations(scores, 2):
            self._compare(pair, scores, subject)

    def against_gold(self) -> dict[str, Interval]:
        """Average precision by method; empty where no example has gold."""
        figures = {n: m.intervals()["average_precision"] for n, m in self.gold.items()}
        return {name: each for name, each in figures.items() if np.isfinite(each.mean)}

    def between(self) -> dict[tuple[str, str], tuple[Interval, int]]:
        """Tau of each pair, with the number of decisions without one."""
        return {pair: (interval_of(taus), self.undefined[pair]) for pair, taus in self.taus.items()}

    def _compare(self, pair: tuple[str, str], scores: Scores, subject: Subject) -> None:
        means, undefined = magnitude_taus(scores[pair[0]], scores[pair[1]], subject)
        self.taus.setdefault(pair, []).extend(means)
        self.undefined[pair] = self.undefined.get(pair, 0) + undefined


def magnitude_taus(one: Tensor, other: Tensor, subject: Subject) -> tuple[list[float], int]:
    """Tau-b of the absolute scores: the mean of each example, and the number of NaN decisions.

    Tau is not defined where one side is constant.
    """
    taus = kendall(one.abs(), other.abs(), subject.cells)  # batch x queries
    defined = subject.decisions & ~taus.isnan()
    total = torch.where(defined, taus, 0.0).sum(1) / defined.sum(1)
    return total.tolist(), int((subject.decisions & taus.isnan()).sum())


def interval_of(values: list[float]) -> Interval:
    """The mean over the examples that have a value, and its bootstrap interval."""
    finite = [value for value in values if np.isfinite(value)]
    return bootstrap(finite) if finite else Interval(float("nan"), float("nan"), float("nan"))


def with_rows(scores: Tensor, rows: int) -> Tensor:
    """Scores cut or padded to as many rows as gold has."""
    missing = rows - scores.shape[1]
    return torch.nn.functional.pad(scores, (0, 0, 0, missing))  # a negative padding cuts


@dataclass
class Explanations:
    """Scores of every batch, and their agreement with gold and with one another."""

    methods: Mapping[str, Method]
    codec: Codec
    scores: list[dict[str, Tensor]] = field(default_factory=list)  # for each batch
    examples: list[dict[str, Any]] = field(default_factory=list)
    agreement: Agreement = field(default_factory=Agreement)
    controls: dict[str, AveragePrecision] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def explain(
        self,
        subject: Subject,
        examples: Sequence[Example],
        target: TargetBatch,
        timed: Callable[[str, Callable[[], Tensor]], Tensor],
    ) -> None:
        """Explain one batch by every method; `timed` runs a method and measures its time."""
        scores: dict[str, Tensor] = {}
        for name, method in self.methods.items():
            scores[name] = timed(name, lambda method=method: explained(method, subject))
        self.scores.append(scores)
        self.agreement.update(scores, subject, target)
        self.examples += [
            self._record(i, example, subject, scores) for i, example in enumerate(examples)
        ]

    def control(self, maps: Mapping[str, Tensor], target: TargetBatch) -> None:
        """Compare control maps (uninformed ones, the oracle) with gold as explanations are."""
        for name, weights in maps.items():
            self.controls.setdefault(name, AveragePrecision()).update(weights, target)

    def figures(self) -> dict[str, Any]:
        """Agreement with gold and between methods, with controls."""
        gold = self.agreement.against_gold()
        controls = {n: m.compute()["average_precision"] for n, m in self.controls.items()}
        return {
            "average_precision": {name: _plain(each) for name, each in gold.items()},
            "controls": controls if gold else {},
            "kendall": [
                {"methods": list(pair), **_plain(value), "undefined": undefined}
                for pair, (value, undefined) in self.agreement.between().items()
            ],
        }

    def _record(
        self, i: int, example: Example, subject: Subject, scores: Mapping[str, Tensor]
    ) -> dict[str, Any]:
        rows, keys = int(subject.decisions[i].sum()), int(subject.keys[i].sum())
        answer = subject.batch.answer.values[i, :rows].tolist()
        value = example.inputs[self.codec.attended]
        attended = self.codec.inputs[self.codec.attended]
        return {
            "id": example.id,
            "answer": self.codec.text(answer),
            "queries": self._queries(answer),
            "keys": named(value) if isinstance(attended, Text | Sentences) else None,
            "grid": subject.embedded.grid,
            "scores": {n: _rounded(each[i, :rows, :keys]) for n, each in scores.items()},
        }

    def _queries(self, answer: list[int]) -> list[str]:
        """The unit or label that each decision chose."""
        return self.codec.answers.decisions(answer)


@dataclass(frozen=True)
class Explanation:
    """Why one input was answered as it was.

    Attributes:
        text: the answer in words.
        rows: its decisions: the units of a text, the label.
        keys: the units of the input.
        scores: method -> decisions x keys; a negative score speaks against the decision.
    """

    text: str
    rows: list[str]
    keys: list[str]
    scores: dict[str, npt.NDArray[np.float64]]

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Explanation:
        """One example of `explanations.json`."""
        scores = {name: np.array(rows) for name, rows in record["scores"].items()}
        count = next(iter(scores.values())).shape[1]
        keys = record["keys"] or []
        named = keys if len(keys) == count else [str(number) for number in range(count)]
        return cls(record["answer"], list(record["queries"]), named, scores)


def _plain(value: Interval) -> dict[str, float]:
    return {"value": value.mean, "low": value.low, "high": value.high}


def _rounded(scores: Tensor) -> list[list[float]]:
    return [[float(f"{value:.{DIGITS}g}") for value in row] for row in scores.tolist()]


@dataclass(frozen=True)
class UninformedMaps:
    """Control maps, fitted on training examples."""

    prior: PositionPrior | None
    frequency: KeyFrequency | None

    @classmethod
    def fit(cls, examples: Sequence[Example], codec: Codec) -> UninformedMaps:
        """Fit on training examples: a prior if there is gold, frequencies if units are words."""
        some = examples[:FITTED_ON]
        targets = [target for e in some if (target := codec.target(e)) is not None]
        named = _units(some, codec)
        return cls(
            PositionPrior.fit(targets) if targets else None,
            KeyFrequency.fit(named) if named is not None else None,
        )

    def maps(
        self, target: TargetBatch, examples: Sequence[Example], codec: Codec, seed: int
    ) -> dict[str, Tensor]:
        """Controls by name, each batch x gold rows x keys."""
        return controls(target, self.prior, self.frequency, _units(examples, codec), seed)


def _units(examples: Iterable[Example], codec: Codec) -> list[list[str]] | None:
    """The units of the attended input; None where it is no text."""
    if codec.attended not in codec.texts:
        return None
    return [list(e.inputs[codec.attended]) for e in examples]  # type: ignore[arg-type]
