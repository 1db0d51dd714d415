"""Translation and summaries: BLEU and chrF by sacrebleu, ROUGE by rouge-score."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from attnlab.compat import sacrebleu_score, sacrebleu_statistics
from attnlab.metrics.facts import Figure
from attnlab.metrics.intervals import Values
from attnlab.metrics.pooled import ratio
from attnlab.metrics.text import TextMetric

if TYPE_CHECKING:
    from rouge_score.rouge_scorer import RougeScorer


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
