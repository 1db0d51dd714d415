"""Which word makes which: a chance for each pair of words that stand in one sentence pair."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import digamma

from attnlab.alignment.bitext import Counts, Numbers, Reals, sums

Rule = Callable[[Counts, Counts], Counts]  # counts of pairs, counts of their making words

LEAST = 1e-10  # no chance is smaller: a sentence of nothing but rare pairs has to stay possible

COMPARED = 12  # letters, from the first
ALIKE = 0.5  # share of the longer word that has to be common


def most_likely(counts: Counts, totals: Counts) -> Counts:
    """Shares."""
    return counts / np.maximum(totals, LEAST)


def variational(counts: Counts, totals: Counts) -> Counts:
    """Shares under a Dirichlet prior, whose counts are among `counts` (Riley and Gildea 2012).

    A count below one gives much less than its share: rare words no longer collect the words that
    nothing else explains.
    """
    return np.exp(digamma(np.maximum(counts, 1e-3)) - digamma(np.maximum(totals, 1e-3)))


@dataclass(frozen=True)
class Lexicon:
    """p(made word | making word) in one direction."""

    pairs: Reals  # pairs + 1, by number; the last is for the padding
    none: Reals  # made words: p(word | made by none)
    totals: Counts  # making words: counts behind the chances

    @classmethod
    def of(cls, pairs: Reals, none: Reals, totals: Counts) -> Lexicon:
        """No chance is zero, but that of the padding."""
        chances = np.append(np.maximum(pairs, LEAST), 0).astype(np.float32)
        return cls(chances, np.maximum(none, LEAST).astype(np.float32), totals)


@dataclass(frozen=True)
class Stems:
    """Pairs of words with the same stems share what is counted."""

    of_pairs: Numbers  # pairs: which pair of stems
    making: Numbers  # pairs of stems: the making stem
    share: Counts  # pairs: how often the made word stands for its stem

    @classmethod
    def of(
        cls, making: Numbers, stem_of_made: Numbers, made: Numbers, occurrences: Counts
    ) -> Stems:
        """`making`: stems of the pairs' making words; `made`: their made words, whose stems and
        frequencies `stem_of_made` and `occurrences` know."""
        stems = stem_of_made[made]
        keys = making.astype(np.int64) * (int(stem_of_made.max()) + 1) + stems
        _, first, of_pairs = np.unique(keys, return_index=True, return_inverse=True)
        share = occurrences / np.maximum(sums(stem_of_made, occurrences), 1)[stem_of_made]
        return cls(of_pairs, making[first], share[made])

    def chances(self, counts: Counts) -> Counts:
        """p(made word | making word) of pairs, as far as their stems tell."""
        together = sums(self.of_pairs, counts, len(self.making))
        totals = sums(self.making, together)
        chances = together / np.maximum(totals[self.making], LEAST)
        return chances[self.of_pairs] * self.share


@dataclass(frozen=True)
class Beliefs:
    """How counts become a lexicon in one direction: what is believed of its pairs beforehand."""

    making: Numbers  # pairs: the word that makes
    making_words: int
    prior: Counts  # pairs: counts believed before anything is seen
    stems: Stems
    stem_weight: float  # counts of each making word that are handed out as its stem's are
    smoothing: float  # prior count of a word that is made by none

    def first(self, occurrences: Counts) -> Lexicon:
        """Every pair is as likely as any other."""
        pairs = np.full(len(self.making), 1 / len(occurrences))
        return Lexicon.of(pairs, occurrences / occurrences.sum(), np.ones(self.making_words))

    def lexicon(self, counts: Counts, none: Counts, rule: Rule) -> Lexicon:
        """From expected counts of pairs and of words made by none."""
        believed = self.prior + self.with_stems(counts)
        totals = sums(self.making, believed, self.making_words)
        by_none = none + self.smoothing
        of_none = rule(by_none, np.full_like(by_none, by_none.sum()))
        return Lexicon.of(rule(believed, totals[self.making]), of_none, totals)

    def with_stems(self, counts: Counts) -> Counts:
        """Counts of the pairs, and of what their stems hand out."""
        return counts + self.stem_weight * self.stems.chances(counts)


def stem_numbers(words: Sequence[str], letters: int) -> npt.NDArray[np.int64]:
    """Words with the same first letters have the same number; 0 is for the unknown word."""
    stems: dict[str, int] = {}
    numbers = [stems.setdefault(word[:letters], len(stems) + 1) for word in words]
    return np.array([0, *numbers], np.int64)


class Spellings:
    """The words of two languages as rows of letters; word 0, the unknown one, has none."""

    def __init__(self, sources: Sequence[str], targets: Sequence[str]) -> None:
        self._sources, self._source_lengths = _letters(sources)
        self._targets, self._target_lengths = _letters(targets)

    def likeness(
        self, sources: npt.NDArray[np.integer], targets: npt.NDArray[np.integer]
    ) -> npt.NDArray[np.float32]:
        """Of pairs of words: the first letters in common as a share of the longer word.

        Names, numbers and loan words share half of it or more; less is left out as chance.
        """
        common, going = np.zeros(len(sources), np.float32), np.ones(len(sources), bool)
        for position in range(COMPARED):
            letters = self._sources[sources, position]
            going &= (letters == self._targets[targets, position]) & (letters != 0)
            common += going
        longer = np.maximum(self._source_lengths[sources], self._target_lengths[targets])
        share = common / np.maximum(longer, 1)
        return np.where(share >= ALIKE, share, np.float32(0))


def _letters(words: Sequence[str]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """words + 1 x letters, zero behind a word's end; and how many of them a word has."""
    table = np.zeros((len(words) + 1, COMPARED), np.int32)
    lengths = np.zeros(len(words) + 1, np.int32)
    for number, word in enumerate(words, start=1):
        first = word[:COMPARED]
        table[number, : len(first)] = [ord(letter) for letter in first]
        lengths[number] = min(len(word), COMPARED)
    return table, lengths
