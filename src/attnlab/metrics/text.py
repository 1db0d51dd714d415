"""Texts: exact match and error rates against references, and perplexity of language models."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from attnlab.compat import sacrebleu_score, sacrebleu_statistics
from attnlab.metrics.figures import Figure, Values
from attnlab.metrics.pooled import PooledMetric, ratio

if TYPE_CHECKING:
    from rouge_score.rouge_scorer import RougeScorer

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

    about = (Figure("changed", "Share of the answers that another map changes", None, perfect=""),)

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
        predicted, gold = self.units(prediction), map(self.units, references)
        counts = [(edit_distance(predicted, units), len(units)) for units in gold]
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


class CtcCharacterError(CharacterError):
    """Character error of the CTC output of the encoder."""

    about = (
        Figure(
            "ctc_character_error", "Character error of what CTC decodes alone", False, perfect="0"
        ),
    )


class CtcWordError(WordError):
    """Word error of the CTC output of the encoder."""

    about = (Figure("ctc_word_error", "Word error of what CTC decodes alone", False, perfect="0"),)


class Perplexity(PooledMetric):
    """How well a language model predicts units, pooled over the units of the corpus.

    Bits per unit are the cross entropy to base 2; perplexity is two to that power. Values for other
    units (characters, words, pieces) are not comparable.
    """

    about = (
        Figure("perplexity", "Perplexity of the units to predict", False, "number of units"),
        Figure(
            "bits_per_unit", "Cross entropy of the units to predict, in bits", False, perfect="0"
        ),
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


class SacreMetric(TextMetric):
    """A corpus figure of sacrebleu, from 0 to 100, pooled from its own segment statistics.

    Pooled counts, not a mean of sentence scores. `signature` is what to quote beside the figure.
    """

    @cached_property
    def scorer(self) -> Any:
        """Sacrebleu's metric; its segment statistics are what its own bootstrap resamples."""
        raise NotImplementedError

    def count(self, prediction: str, references: Sequence[str]) -> Sequence[float]:
        return sacrebleu_statistics(self.scorer, prediction, references)

    def score(self, sums: Values) -> Values:
        def figure(statistics: Values) -> float:
            return sacrebleu_score(self.scorer, statistics.astype(int).tolist())

        return np.apply_along_axis(figure, -1, sums)[..., None]

    @property
    def signature(self) -> str:
        return str(self.scorer.get_signature())


class Bleu(SacreMetric):
    """BLEU (Papineni et al. 2002); `tokenize` as sacrebleu names it: 13a, zh, ja-mecab, none."""

    about = (Figure("bleu", "BLEU of the corpus, 0 to 100", perfect="100"),)

    def __init__(self, tokenize: str) -> None:
        super().__init__()
        self.tokenize = tokenize

    @cached_property
    def scorer(self) -> Any:
        from sacrebleu.metrics.bleu import BLEU

        return BLEU(tokenize=self.tokenize, force=True)


class Chrf(SacreMetric):
    """chrF (Popovic 2015): F2 of character n-grams; with `word_order` 2 it is chrF++."""

    about = (Figure("chrf", "F-score of character n-grams (chrF), 0 to 100", perfect="100"),)

    def __init__(self, word_order: int) -> None:
        super().__init__()
        self.word_order = word_order

    @cached_property
    def scorer(self) -> Any:
        from sacrebleu.metrics.chrf import CHRF

        return CHRF(word_order=self.word_order)


class Rouge(TextMetric):
    """ROUGE-1, -2 and -L (Lin 2004): the mean over examples of F1, best of several references.

    As rouge-score has it: lower-cased, letters a-z and digits only (other scripts score 0), no
    stemming unless asked for; ROUGE-L over the whole text, not summed over sentences.
    """

    about = (
        Figure("rouge1", "ROUGE-1: F1 of shared words, mean over examples"),
        Figure("rouge2", "ROUGE-2: F1 of shared word pairs, mean over examples"),
        Figure("rougeL", "ROUGE-L: F1 of the longest common subsequence, mean over examples"),
    )

    def __init__(self, stem: bool) -> None:
        super().__init__()
        self.stem = stem

    @cached_property
    def scorer(self) -> RougeScorer:
        from rouge_score.rouge_scorer import RougeScorer

        return RougeScorer(list(self.figures), use_stemmer=self.stem)

    def count(self, prediction: str, references: Sequence[str]) -> Sequence[float]:
        scores = self.scorer.score_multi(list(references), prediction)
        return [*(scores[name].fmeasure for name in self.figures), 1]

    def score(self, sums: Values) -> Values:
        return ratio(sums[..., :-1], sums[..., -1:])
