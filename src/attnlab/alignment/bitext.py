"""Sentence pairs as numbers, in groups of about the same shape."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Reals = npt.NDArray[np.floating]
Ids = npt.NDArray[np.int32]
Numbers = npt.NDArray[np.integer]
Counts = npt.NDArray[np.float64]
Sentence = Sequence[str]

PAIRS_IN_A_GROUP, CELLS_IN_A_GROUP = 20_000, 400_000
SPREAD = 2  # how many words the shortest source sentence of a group may lack to the longest
ADDED_AT_ONCE = 8_000_000  # amounts


class Vocabulary:
    """Words and their numbers. 0 stands for every word that is not among them."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = list(words)
        self._numbers = {word: number for number, word in enumerate(words, start=1)}

    def extended(self, sentences: Iterable[Sentence]) -> Vocabulary:
        """The same words with the same numbers, then those that only these sentences have."""
        every = (word for sentence in sentences for word in sentence)
        return Vocabulary(list(dict.fromkeys((*self.words, *every))))

    def __len__(self) -> int:
        """With the unknown word."""
        return len(self.words) + 1

    def encode(self, sentence: Sentence) -> Ids:
        get = self._numbers.get
        return np.array([get(word, 0) for word in sentence], np.int32)


@dataclass(frozen=True)
class Group:
    """Sentence pairs padded to one shape. What lies in the padding points to the cell 'none'."""

    rows: npt.NDArray[np.intp]  # pairs: where each stands in the text
    source: Ids  # pairs x sources; 0 in the padding
    target: Ids  # pairs x targets
    source_lengths: npt.NDArray[np.intp]  # pairs
    target_lengths: npt.NDArray[np.intp]  # pairs
    cells: Ids  # pairs x sources x targets: which pair of words a cell is

    def turned(self) -> Group:
        """The same pairs, seen from the other side."""
        return Group(
            self.rows,
            self.target,
            self.source,
            self.target_lengths,
            self.source_lengths,
            self.cells.transpose(0, 2, 1),
        )

    def inside(self) -> npt.NDArray[np.bool_]:
        """Cells of words that exist: pairs x sources x targets."""
        rows = np.arange(self.source.shape[1]) < self.source_lengths[:, None]
        columns = np.arange(self.target.shape[1]) < self.target_lengths[:, None]
        return rows[:, :, None] & columns[:, None, :]


@dataclass(frozen=True)
class Bitext:
    """Sentence pairs, their words as numbers."""

    words: tuple[Vocabulary, Vocabulary]
    sources: list[Ids]
    targets: list[Ids]
    longest: int

    @classmethod
    def of(
        cls,
        sources: Sequence[Sentence],
        targets: Sequence[Sentence],
        longest: int,
        known: tuple[Vocabulary, Vocabulary] = (Vocabulary([]), Vocabulary([])),
    ) -> Bitext:
        """All words get numbers, those already known keep theirs."""
        words = known[0].extended(sources), known[1].extended(targets)
        sides = [*map(words[0].encode, sources)], [*map(words[1].encode, targets)]
        return cls(words, *sides, longest)

    def groups(self) -> Iterator[Group]:
        """All pairs with words on both sides, but not too many; cells are not known yet."""
        lengths = np.array(
            [[len(s), len(t)] for s, t in zip(self.sources, self.targets, strict=True)], np.intp
        ).reshape(-1, 2)
        rows = np.flatnonzero(lengths.all(1) & (lengths <= self.longest).all(1))
        wide, high = lengths[rows].T
        order = rows[np.lexsort((high, (wide + SPREAD) // (SPREAD + 1)))]
        start = 0
        while start < len(order):
            stop = start + _together(lengths[order[start : start + PAIRS_IN_A_GROUP]])
            yield self._padded(order[start:stop], lengths)
            start = stop

    def occurrences(self) -> tuple[Counts, Counts]:
        """How often each word stands in the text: of sources, of targets."""
        counted = [
            np.bincount(np.concatenate([*side, np.zeros(0, np.int32)]), minlength=len(words))
            for side, words in zip((self.sources, self.targets), self.words, strict=True)
        ]
        return counted[0].astype(np.float64), counted[1].astype(np.float64)

    def _padded(self, rows: npt.NDArray[np.intp], lengths: npt.NDArray[np.intp]) -> Group:
        source_lengths, target_lengths = lengths[rows].T
        source = np.zeros((len(rows), source_lengths.max()), np.int32)
        target = np.zeros((len(rows), target_lengths.max()), np.int32)
        for i, row in enumerate(rows):
            source[i, : source_lengths[i]] = self.sources[row]
            target[i, : target_lengths[i]] = self.targets[row]
        cells = np.zeros((*source.shape, target.shape[1]), np.int32)
        return Group(rows, source, target, source_lengths, target_lengths, cells)


def _together(lengths: npt.NDArray[np.intp]) -> int:
    """How many of these pairs, from the first, have about the same shape and are not too many."""
    wide = np.maximum.accumulate(lengths[:, 0])
    high = np.maximum.accumulate(lengths[:, 1])
    first_wide, first_high = lengths[0]
    apart = (np.abs(lengths[:, 0] - first_wide) > SPREAD) | (
        lengths[:, 1] - first_high > max(2, first_high // 8)
    )
    full = np.arange(1, len(lengths) + 1) * wide * high > CELLS_IN_A_GROUP
    ends = np.flatnonzero((apart | full)[1:]) + 1
    return int(ends[0]) if len(ends) else len(lengths)


@dataclass(frozen=True)
class PairTable:
    """Which source word can come from which target word: the pairs seen in one sentence pair.

    A pair's number is its place in `keys`; one more number, `none`, is for the padding and for
    pairs never seen.
    """

    keys: npt.NDArray[np.int64]  # sorted: source word x (target words) + target word
    target_words: int

    @classmethod
    def of(cls, groups: Iterable[Group], target_words: int) -> PairTable:
        keys = [np.unique(_keys(group, target_words)[group.inside()]) for group in groups]
        kept = np.unique(np.concatenate(keys)) if keys else np.zeros(0, np.int64)
        return cls(kept, target_words)

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def none(self) -> int:
        return len(self.keys)

    @property
    def sources(self) -> Ids:
        """The source word of each pair."""
        return (self.keys // self.target_words).astype(np.int32)

    @property
    def targets(self) -> Ids:
        """The target word of each pair."""
        return (self.keys % self.target_words).astype(np.int32)

    def with_cells(self, group: Group) -> Group:
        """The group with the number of each of its cells."""
        keys, cells = np.unique(_keys(group, self.target_words), return_inverse=True)
        numbered = self._numbers(keys).astype(np.int32)[cells.reshape(group.cells.shape)]
        return replace(group, cells=np.where(group.inside(), numbered, np.int32(self.none)))

    def numbers(self, sources: Ids, targets: Ids) -> npt.NDArray[np.intp]:
        """Of pairs of words, the number; `none` for a pair that is not here."""
        keys = sources.astype(np.int64) * self.target_words + targets
        return np.where(targets < self.target_words, self._numbers(keys), self.none)

    def _numbers(self, keys: npt.NDArray[np.int64]) -> npt.NDArray[np.intp]:
        indices = np.searchsorted(self.keys, keys)
        return np.where(np.append(self.keys, -1)[indices] == keys, indices, self.none)


def _keys(group: Group, target_words: int) -> npt.NDArray[np.int64]:
    return group.source[:, :, None].astype(np.int64) * target_words + group.target[:, None, :]


def sums(numbers: Numbers, amounts: Reals, size: int = 0) -> Counts:
    """The sum of the amounts of each number."""
    return np.bincount(numbers, amounts, size).astype(np.float64, copy=False)


class Tally:
    """Sums over all groups, a few million amounts at a time: all at once would need much memory."""

    def __init__(self, size: int) -> None:
        self._total = np.zeros(size)
        self._waiting: list[tuple[Numbers, Reals]] = []
        self._cells = 0

    def add(self, numbers: Numbers, amounts: Reals) -> None:
        """Both of one shape."""
        self._waiting.append((numbers, amounts))
        self._cells += numbers.size
        if self._cells > ADDED_AT_ONCE:
            self._settle()

    def total(self) -> Counts:
        """Sum of what was added for each number."""
        self._settle()
        return self._total

    def _settle(self) -> None:
        if self._waiting:
            numbers = np.concatenate([n.reshape(-1) for n, _ in self._waiting])
            amounts = np.concatenate([a.reshape(-1) for _, a in self._waiting])
            self._total += sums(numbers, amounts, len(self._total))
        self._waiting, self._cells = [], 0
