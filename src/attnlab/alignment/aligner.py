"""What learning leaves behind: it aligns any text, and can be kept in a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from attnlab.alignment.bitext import Bitext, Counts, PairTable, Sentence, Vocabulary
from attnlab.alignment.config import AlignerSettings
from attnlab.alignment.direction import Direction
from attnlab.alignment.links import Maps
from attnlab.alignment.spelling import Spellings


@dataclass(frozen=True)
class Aligner:
    """Both directions of what was learned."""

    settings: AlignerSettings
    words: tuple[Vocabulary, Vocabulary]  # of sources, of targets
    pairs: PairTable
    directions: tuple[Direction, Direction]  # source words make target words; the other way round

    def maps(
        self, sources: Sequence[Sentence], targets: Sequence[Sentence]
    ) -> Iterator[tuple[int, Maps]]:
        """The maps of sentence pairs with their places, in any order.

        There is none of a pair with an empty side, or with one that is too long.
        """
        sides = written(sources, self.settings), written(targets, self.settings)
        text = Bitext.of(*sides, self.settings.longest, self.words)
        known = self._extended(text)
        for bare in text.groups():
            group = known.pairs.with_cells(bare)
            forward = known.directions[0].expect(group).links.transpose(0, 2, 1)
            backward = known.directions[1].expect(group.turned()).links
            for i, row in enumerate(group.rows):
                inside = i, slice(group.source_lengths[i]), slice(group.target_lengths[i])
                yield int(row), Maps(forward[inside], backward[inside])

    def _extended(self, text: Bitext) -> Aligner:
        """An aligner of every pair of words that meet in this text, and of no others.

        One never met before has the chance that its prior gives: more, if it is written alike.
        """
        pairs = PairTable.of(text.groups(), len(text.words[1]))
        numbers = self.pairs.numbers(pairs.sources, pairs.targets)
        prior = prior_counts(self.settings, text.words, pairs)
        words = [len(vocabulary) for vocabulary in text.words]
        forward, backward = self.directions
        return replace(
            self,
            words=text.words,
            pairs=pairs,
            directions=(
                forward.extended(numbers, prior, pairs.sources, words[0], words[1]),
                backward.extended(numbers, prior, pairs.targets, words[1], words[0]),
            ),
        )


def written(sentences: Sequence[Sentence], settings: AlignerSettings) -> list[Sentence]:
    """Words as the aligner distinguishes them."""
    if not settings.lowercase:
        return list(sentences)
    return [[word.lower() for word in sentence] for sentence in sentences]


def prior_counts(
    settings: AlignerSettings, words: tuple[Vocabulary, Vocabulary], pairs: PairTable
) -> Counts:
    """Counts believed of each pair before it is seen."""
    spellings = Spellings(words[0].words, words[1].words)
    likeness = spellings.likeness(pairs.sources, pairs.targets)
    return settings.smoothing + settings.spelling * likeness.astype(np.float64)
