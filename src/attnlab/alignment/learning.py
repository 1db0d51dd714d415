"""Learning to align: rounds of expecting links and counting them (EM), in both directions.

First without any order of words (Brown et al. 1993), each direction alone. Then as hidden Markov
models (Vogel et al. 1996) that learn by agreement: what is counted is the product of what both
directions expect (Liang, Taskar and Klein 2006).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from attnlab.alignment.aligner import Aligner, Direction, prior_counts, written
from attnlab.alignment.bitext import Bitext, Counts, PairTable, Reals, Sentence, Tally
from attnlab.alignment.config import AlignerSettings
from attnlab.alignment.hmm import Jumps, classes_of
from attnlab.alignment.lexicon import Beliefs, Rule, Stems, most_likely, stem_numbers, variational

NOTHING = 1e-3  # a pair that was counted less than this is forgotten

LogLikelihoods = tuple[float, float]  # of the targets, of the sources


@dataclass(frozen=True)
class Round:
    """The figures of one round of learning."""

    name: str
    number: int
    of: int
    perplexities: tuple[float, float]  # of target words, of source words
    seconds: float

    def __str__(self) -> str:
        forward, backward = self.perplexities
        return (
            f"{self.name} round {self.number} of {self.of}: "
            f"perplexity {forward:.1f} forward, {backward:.1f} backward, {self.seconds:.1f} s"
        )


def learn(
    sources: Sequence[Sentence],
    targets: Sequence[Sentence],
    settings: AlignerSettings,
    say: Callable[[Round], None],
) -> Aligner:
    """An aligner from sentence pairs; one with an empty side, or a long one, teaches nothing."""
    learner = Learner(sources, targets, settings)
    for number in range(1, settings.ibm_rounds + 1):
        say(learner.timed("IBM 1", number, settings.ibm_rounds, learner.without_order))
    for number in range(1, settings.hmm_rounds + 1):
        say(learner.timed("HMM", number, settings.hmm_rounds, learner.by_agreement))
    return learner.aligner()


class Learner:
    """What is kept from one round to the next."""

    def __init__(
        self, sources: Sequence[Sentence], targets: Sequence[Sentence], settings: AlignerSettings
    ) -> None:
        self.settings = settings
        sides = written(sources, settings), written(targets, settings)
        self.text = Bitext.of(*sides, settings.longest)
        groups = list(self.text.groups())
        self.pairs = PairTable.of(groups, len(self.text.words[1]))
        self.groups = [self.pairs.with_cells(group) for group in groups]
        self.beliefs = self._beliefs()
        occurrences = self.text.occurrences()
        self.directions = [
            Direction(
                beliefs.first(made),
                Jumps.near(classes_of(making, settings.jump_words)),
                settings.none,
            )
            for beliefs, making, made in zip(
                self.beliefs, occurrences, occurrences[::-1], strict=True
            )
        ]
        self.counts = [np.zeros(len(self.pairs)), np.zeros(len(self.pairs))]

    def _beliefs(self) -> tuple[Beliefs, Beliefs]:
        settings, words, occurrences = self.settings, self.text.words, self.text.occurrences()
        sides = self.pairs.sources, self.pairs.targets
        prior = prior_counts(settings, words, self.pairs)
        stems = [stem_numbers(vocabulary.words, settings.stem_letters) for vocabulary in words]

        def of(making: int, made: int) -> Beliefs:
            shared = Stems.of(
                stems[making][sides[making]], stems[made], sides[made], occurrences[made]
            )
            size = len(words[making])
            return Beliefs(
                sides[making], size, prior, shared, settings.stem_weight, settings.smoothing
            )

        return of(0, 1), of(1, 0)

    def timed(self, name: str, number: int, of: int, round_: Callable[[], LogLikelihoods]) -> Round:
        """One round, and how it went."""
        start = time.perf_counter()
        forward, backward = round_()
        targets = sum(int(group.target_lengths.sum()) for group in self.groups)
        sources = sum(int(group.source_lengths.sum()) for group in self.groups)
        perplexities = _perplexity(forward, targets), _perplexity(backward, sources)
        return Round(name, number, of, perplexities, time.perf_counter() - start)

    def without_order(self) -> LogLikelihoods:
        """One round of model 1, each direction by itself; how likely the text was before it."""
        tallies = self._tally_of_pairs(), self._tally_of_pairs()
        none = self._tallies_of_words()
        likelihoods = [0.0, 0.0]
        for group in self.groups:
            for i, view in enumerate((group, group.turned())):
                links, by_none, likelihood = self.directions[i].expect_anywhere(view)
                tallies[i].add(view.cells, links.transpose(0, 2, 1))
                none[i].add(view.target, by_none)
                likelihoods[i] += float(likelihood.sum(dtype=np.float64))
        self._count([tally.total() for tally in tallies], none, most_likely)
        return likelihoods[0], likelihoods[1]

    def by_agreement(self) -> LogLikelihoods:
        """One round of hidden Markov models that count what both expect."""
        agreed, none = self._tally_of_pairs(), self._tallies_of_words()
        jumps = [np.zeros(direction.jumps.table.shape) for direction in self.directions]
        likelihoods = [0.0, 0.0]
        for group in self.groups:
            links: list[Reals] = []
            for i, view in enumerate((group, group.turned())):
                expected = self.directions[i].expect(view)
                links.append(expected.links)
                none[i].add(view.target, expected.none)
                jumps[i] += self.directions[i].jumps.count(view, expected)
                likelihoods[i] += float(expected.log_likelihood.sum(dtype=np.float64))
            agreed.add(group.cells, links[0].transpose(0, 2, 1) * links[1])
        counts = agreed.total()
        self._count([counts, counts], none, variational)
        self.directions = [
            replace(direction, jumps=direction.jumps.counted(taken, self.settings.jump_weight))
            for direction, taken in zip(self.directions, jumps, strict=True)
        ]
        return likelihoods[0], likelihoods[1]

    def aligner(self) -> Aligner:
        """What was learned, without the pairs that were hardly ever counted."""
        believed = zip(self.beliefs, self.counts, strict=True)
        kept = np.maximum(*(beliefs.with_stems(counts) for beliefs, counts in believed))
        numbers = np.flatnonzero(kept > NOTHING)
        forward, backward = (direction.keeping(numbers) for direction in self.directions)
        pairs = PairTable(self.pairs.keys[numbers], self.pairs.target_words)
        return Aligner(self.settings, self.text.words, pairs, (forward, backward))

    def _count(self, counts: list[Counts], none: Sequence[Tally], rule: Rule) -> None:
        self.counts = [of_pairs[:-1] for of_pairs in counts]  # the last is that of the padding
        self.directions = [
            replace(direction, lexicon=beliefs.lexicon(of_pairs, by_none.total(), rule))
            for direction, beliefs, of_pairs, by_none in zip(
                self.directions, self.beliefs, self.counts, none, strict=True
            )
        ]

    def _tally_of_pairs(self) -> Tally:
        return Tally(len(self.pairs) + 1)

    def _tallies_of_words(self) -> tuple[Tally, Tally]:
        """Of the words that are made: targets, sources."""
        sources, targets = self.text.words
        return Tally(len(targets)), Tally(len(sources))


def _perplexity(log_likelihood: float, words: int) -> float:
    return float(np.exp(-log_likelihood / max(words, 1)))
