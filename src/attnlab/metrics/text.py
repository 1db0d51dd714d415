"""Texts: exact match and error rates against references, and perplexity of language models."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from attnlab.metrics.facts import Figure
from attnlab.metrics.intervals import Values
from attnlab.metrics.pooled import PooledMetric, ratio

Units = Sequence[str]  # a text as words, or a string as its characters
References = str | Sequence[str]  # one reference, or several


class TextMetric(PooledMetric):
    """`update(predictions, references)`: strings; an example may have several references."""

    def update(self, predictions: Sequence[str], references: Sequence[References]) -> None:
        pairs = zip(predictions, references, strict=True)
        counts = [self.count(prediction, several(reference)) for prediction, reference in pairs]
        self.keep(torch.tensor(counts, dtype=torch.double, device=self.device))

    @abstractmethod
    def count(self, prediction: str, references: Sequence[str]) -> Sequence[float]:
        """The statistics of one example."""


class ExactMatch(TextMetric):
    """The share of predictions that equal their reference."""

    about = (Figure("exact_match", "Share of the answers that equal their reference"),)

    def count(self, prediction: str, references: Sequence[str]) -> Sequence[float]:
        return prediction in references, 1

    def score(self, sums: Values) -> Values:
        return ratio(sums[..., 0], sums[..., 1])[..., None]


class Changed(PooledMetric):
    """How far answers differ from the model's own when another map replaces its map."""

    higher_is_better = None
    figures = ("changed",)

    def update(self, changed: torch.Tensor) -> None:
        """From 0, the same answer, to 1: batch."""
        self.keep(torch.stack([changed, torch.ones_like(changed)], -1))

    def score(self, sums: Values) -> Values:
        return ratio(sums[..., 0], sums[..., 1])[..., None]


class CharacterError(TextMetric):
    """Edits (insert, delete, replace) a reference character, pooled; may exceed 1.

    Of several references the one with the fewest edits a unit counts.
    """

    about = (
        Figure("character_error", "Edits for each character of the references", False, perfect="0"),
    )

    def count(self, prediction: str, references: Sequence[str]) -> Sequence[float]:
        said, gold = self.units(prediction), [self.units(reference) for reference in references]
        counts = [(edit_distance(said, units), len(units)) for units in gold]
        return min(counts, key=lambda count: count[0] / max(count[1], 1))

    def units(self, text: str) -> Units:
        return text

    def score(self, sums: Values) -> Values:
        return ratio(sums[..., 0], sums[..., 1])[..., None]


class WordError(CharacterError):
    """Edits for each word of the references, words as white space separates them."""

    about = (Figure("word_error", "Edits for each word of the references", False, perfect="0"),)

    def units(self, text: str) -> Units:
        return text.split()


class HeardCharacterError(CharacterError):
    """The same of what an encoder alone has heard (CTC), beside what a decoder wrote."""

    about = (
        Figure(
            "ctc_character_error", "Character error of what CTC decodes alone", False, perfect="0"
        ),
    )


class HeardWordError(WordError):
    """The same of what an encoder alone has heard (CTC), beside what a decoder wrote."""

    about = (Figure("ctc_word_error", "Word error of what CTC decodes alone", False, perfect="0"),)


class Perplexity(PooledMetric):
    """How well a language model predicts the next unit, pooled over the units of the corpus.

    Bits per unit are the cross entropy to base 2; perplexity is two to that power. Values for other
    units (characters, words, pieces) are not comparable.
    """

    about = (
        Figure("perplexity", "Perplexity of the next unit", False, "number of units"),
        Figure("bits_per_unit", "Cross entropy of the next unit, in bits", False, perfect="0"),
    )

    def update(self, losses: Tensor, units: Tensor) -> None:
        """Cross entropies in nats, summed over each example's units, and how many those are."""
        self.keep(torch.stack([losses.double(), units.double()], dim=-1))

    def score(self, sums: Values) -> Values:
        nats = ratio(sums[..., 0], sums[..., 1])
        return np.stack([np.exp(nats), nats / np.log(2)], axis=-1)


def several(references: References) -> Sequence[str]:
    """One reference or several as several."""
    return [references] if isinstance(references, str) else references


def edit_distance(first: Units, second: Units) -> int:
    """The least number of insertions, deletions and replacements (Levenshtein 1966)."""
    if not first or not second:
        return len(first) + len(second)
    codes = {unit: i for i, unit in enumerate({*first, *second})}
    other = np.array([codes[unit] for unit in second])
    steps = np.arange(len(second) + 1)
    row = steps  # distances of an empty prefix of `first` to every prefix of `second`
    for i, unit in enumerate(first, start=1):
        straight = np.minimum(row[:-1] + (other != codes[unit]), row[1:] + 1)
        best = np.concatenate([[i], straight])
        # Insertions run along the row: d[j] = min over k <= j of best[k] + (j - k).
        row = np.minimum.accumulate(best - steps) + steps
    return int(row[-1])
