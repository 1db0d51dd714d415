"""What two words show of each other by how they are written: first letters in common."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

COMPARED = 12  # letters, from the first
ALIKE = 0.5  # share of the longer word that has to be common


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
        for place in range(COMPARED):
            letters = self._sources[sources, place]
            going &= (letters == self._targets[targets, place]) & (letters != 0)
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
