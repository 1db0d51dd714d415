"""Where people look while they read: five folds, beside what word length and frequency tell.

    python -m benchmarks.reading --data ../shared/data        # zuco_reading of it

The runs are kept in runs/benchmarks and picked up by the next call.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from attnlab.config import compose
from attnlab.data.example import Example
from attnlab.metrics.figures import bootstrap
from attnlab.stages.prepare import prepared_data
from benchmarks.results import record
from benchmarks.runs import RUNS, Training, origin, train_all

FOLDS = range(5)
TARGET = 0.80
Guess = Callable[[Sequence[str]], Sequence[float]]


def training(data: str, fold: int) -> Training:
    """The experiment with one fifth held out."""
    words = ("experiment=zuco_reading", f"paths.data={data}", f"dataset.fold={fold}")
    return Training(RUNS / "reading" / str(fold), words)


def splits(data: str, fold: int) -> tuple[Sequence[Example], Sequence[Example]]:
    """Examples to learn from and to be evaluated on."""
    prepared = prepared_data(compose.load(training(data, fold).overrides)[0])
    return prepared.examples("train"), prepared.examples("test")


def controls(training_texts: Sequence[Example]) -> dict[str, Guess]:
    """Scores of words that need no model: their length, how rare they are."""
    counts = Counter(word for example in training_texts for word in example.inputs["text"])  # type: ignore[union-attr]
    return {
        "word length": lambda words: [len(word) for word in words],
        "inverse frequency in the training texts": lambda words: [-counts[word] for word in words],
        "place in the sentence": lambda words: range(len(words)),
    }


def correlations(guess: Guess, examples: Sequence[Example]) -> list[float]:
    """Spearman's in each sentence; those where a side is constant have none."""
    found: list[float] = []
    for example in examples:
        guessed = guess(example.inputs["text"])  # type: ignore[arg-type]
        assert example.target is not None
        gold = example.target.weights[0]
        if np.ptp(guessed) and np.ptp(gold):
            correlation: Any = spearmanr(guessed, gold)
            found.append(float(correlation[0]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Where people look while they read.")
    parser.add_argument("--data", default="../shared/data", help="folder that holds zuco_reading")
    data = parser.parse_args().data
    runs = [training(data, fold) for fold in FOLDS]
    train_all(runs)
    model = [value for run in runs for value in run.each("spearman")]
    found: dict[str, list[float]] = {"the model": model}
    for fold in FOLDS:
        training_texts, test_texts = splits(data, fold)
        for name, guess in controls(training_texts).items():
            found.setdefault(name, []).extend(correlations(guess, test_texts))
    each = [float(np.mean(run.each("spearman"))) for run in runs]
    lines = ["| | Spearman in a sentence, mean |", "|---|---|"]
    lines += [f"| {name} | {bootstrap(values)} |" for name, values in found.items()]
    lines += [f"| published: saliency of a BERT (target {TARGET:.2f}) | 0.680 |"]
    lines += ["", f"Folds: {', '.join(f'{value:.3f}' for value in each)}."]
    note = "924 sentences, each evaluated once by a model trained on the others' folds; seed 0."
    command = "python -m benchmarks.reading --data ../shared/data"
    record("reading", "Where people look while they read", command, lines, origin(runs), note)


if __name__ == "__main__":
    main()
