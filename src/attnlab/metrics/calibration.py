"""How sure answers are, and how right: calibration, and the risk of answering only the surest.

`temperature` finds the one number that scores are divided by so that probabilities mean what they
say (Guo et al. 2017); it changes no answer. `Calibration.of` gives the figures with and without.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn import functional as F

from attnlab.metrics.figures import (
    Figure,
    Interval,
    Values,
    bootstrap_pooled,
    declare,
    interval,
    with_width,
)

BINS = 15  # of confidence, equally wide
DRAWS = 200  # resamples of the area under the curve, each of which sorts all choices
MOST_SCORES = 2**26  # that are kept of a split: 256 MiB
POINTS = 50  # of the curve of risk that are kept

declare(
    Figure(
        "ece",
        "Mean distance between confidence and accuracy in 15 bins of confidence (ECE)",
        False,
        perfect="0",
    ),
    Figure("ece_scaled", "The same with scores divided by the temperature", False, perfect="0"),
    Figure(
        "temperature",
        "What scores are divided by so that validation is likeliest; above 1 the model is too sure",
        None,
        perfect="1",
    ),
    Figure(
        "aurc",
        "Mean share of errors where only the surest answers are given, over all shares of answers",
        False,
        "share of errors",
        "below the share of errors",
    ),
)


class ScoredChoices:
    """Scores of choices and which are right, of the examples of a split."""

    def __init__(self) -> None:
        self.scores: list[Tensor] = []
        self.gold: list[Tensor] = []
        self.owner: list[Tensor] = []
        self.examples = self.size = 0

    def add(self, scores: Tensor, gold: Tensor) -> None:
        """batch x positions x choices, batch x positions; a negative gold choice does not count."""
        counted = gold >= 0
        if self.size < MOST_SCORES:
            owner = torch.arange(len(gold), device=gold.device)[:, None].expand_as(gold)
            self.scores.append(scores[counted].float().cpu())  # rows x choices
            self.gold.append(gold[counted].cpu())
            self.owner.append((owner[counted] + self.examples).cpu())
            self.size += self.scores[-1].numel()
        self.examples += len(gold)

    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        """Scores (rows x choices), right choices and numbers of the examples (rows)."""
        return torch.cat(self.scores), torch.cat(self.gold), torch.cat(self.owner)


def temperature(choices: ScoredChoices) -> float:
    """The temperature under which the right choices are likeliest."""
    scores, gold, _ = choices.tensors()

    def loss(log_temperature: float) -> float:
        return float(F.cross_entropy(scores / float(np.exp(log_temperature)), gold))

    found: Any = minimize_scalar(loss, bounds=(-3.0, 3.0), method="bounded")
    return float(np.exp(found.x))


@dataclass(frozen=True)
class Calibration:
    """Figures of calibration and what their pictures are drawn from."""

    figures: dict[str, float]
    intervals: dict[str, Interval]
    bins: dict[str, list[list[float]]]  # as they are and scaled: confidence, accuracy, count
    risk: list[list[float]]  # shares of answers that are given, and of errors among them

    @classmethod
    def of(cls, choices: ScoredChoices, temperature: float) -> Calibration:
        """The figures of a split, with a temperature fitted on another one."""
        scores, gold, owner = choices.tensors()
        right = (scores.argmax(-1) == gold).numpy().astype(float)
        confidence = scores.softmax(-1).amax(-1).double().numpy()
        scaled = (scores / temperature).softmax(-1).amax(-1).double().numpy()
        numbers = owner.numpy()
        intervals = {
            "ece": calibration_error(confidence, right, numbers),
            "ece_scaled": calibration_error(scaled, right, numbers),
            "aurc": with_width(_resampled(area_of_risk, confidence, right), len(right)),
        }
        figures = {name: each.mean for name, each in intervals.items()}
        figures["temperature"] = temperature
        bins = {"as it is": binned(confidence, right), "scaled": binned(scaled, right)}
        return cls(figures, intervals, bins, risk_curve(confidence, right))

    def plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        content = asdict(self)
        del content["intervals"]
        return content


def calibration_error(confidence: Values, right: Values, owner: Values) -> Interval:
    """The expected calibration error of choices; examples are resampled, with all their choices."""
    inverse = np.unique(owner, return_inverse=True)[1]
    table = np.zeros((int(inverse.max()) + 1, BINS + 1))  # examples x statistics
    columns = _bin(confidence)
    np.add.at(table, (inverse, columns), confidence - right)
    table[:, BINS] = np.bincount(inverse)

    def score(sums: Values) -> Values:
        return np.abs(sums[..., :BINS]).sum(-1) / np.maximum(sums[..., BINS], 1)

    return bootstrap_pooled(table, score)


def binned(confidence: Values, right: Values) -> list[list[float]]:
    """Of each bin that holds a choice: mean confidence, share of right ones, how many."""
    columns = _bin(confidence)
    counts = np.bincount(columns, minlength=BINS)
    sums = [np.bincount(columns, each, minlength=BINS) for each in (confidence, right)]
    rows = np.stack([*(each / np.maximum(counts, 1) for each in sums), counts], 1)  # bins x 3
    return rows[counts > 0].tolist()


def _bin(confidence: Values) -> Any:
    return np.minimum((confidence * BINS).astype(int), BINS - 1)


def risks(confidence: Values, right: Values) -> Values:
    """The share of errors among the surest 1, 2, ... choices; equally sure ones are wrong alike."""
    order = np.argsort(-confidence, kind="stable")
    _, group = np.unique(-confidence[order], return_inverse=True)
    wrong = 1 - right[order]
    alike = np.bincount(group, wrong) / np.bincount(group)
    return np.cumsum(alike[group]) / np.arange(1, len(wrong) + 1)


def area_of_risk(confidence: Values, right: Values) -> float:
    """The area under the curve of risk over coverage (AURC, Geifman et al. 2019)."""
    return float(risks(confidence, right).mean())


def risk_curve(confidence: Values, right: Values) -> list[list[float]]:
    """Some points of the curve: share of choices that are made, share of errors among them."""
    curve = risks(confidence, right)
    places = np.unique(np.linspace(1, len(curve), min(POINTS, len(curve))).round().astype(int))
    return [[float(place / len(curve)), float(curve[place - 1])] for place in places]


def _resampled(
    figure: Callable[[Values, Values], float], confidence: Values, right: Values
) -> Interval:
    random, count = np.random.default_rng(0), len(right)
    draws = [random.integers(count, size=count) for _ in range(DRAWS)]
    drawn = np.array([figure(confidence[rows], right[rows]) for rows in draws])
    return interval(figure(confidence, right), drawn, 0.95)
