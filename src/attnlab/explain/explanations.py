"""`Explanations`: the scores of every method over a split, for explanations.json."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from attnlab.data.codec import Codec
from attnlab.data.example import Example, named
from attnlab.data.inputs import Sentences, Text
from attnlab.data.target_batch import TargetBatch
from attnlab.explain.findings import Agreement
from attnlab.explain.methods import Method, explained
from attnlab.explain.subject import Subject
from attnlab.metrics.controls import KeyFrequency, PositionPrior, controls
from attnlab.metrics.intervals import Interval
from attnlab.metrics.rationale import AveragePrecision

DIGITS = 4  # significant digits that are written

FITTED_ON = 2000  # examples of the training split


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
