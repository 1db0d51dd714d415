"""`Vocabulary`: units of text to numbers and back; `Pieces`, of which words are made."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from random import Random
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from attnlab.data.groups import Groups

PAD, BOS, EOS, UNKNOWN = 0, 1, 2, 3
BEGIN = "\N{LOWER ONE EIGHTH BLOCK}"  # stands before the first piece of a word
Texts = Iterable[Sequence[str]]
SPECIAL = ("<pad>", "<s>", "</s>", "<unk>")
MASKS = ("[MASK]", "<mask>")  # as pretrained tokenizers spell it; else the unknown unit
AFFIX, LETTER_BITS = 4, 7  # letters at each end of a word that its number holds, and bits of each


class WordVectors(NamedTuple):
    """What words mean before training."""

    words: Sequence[str]
    numbers: npt.NDArray[np.float32]  # words x dim


class Vocabulary:
    """Units in the order of their numbers; the first four are special."""

    # What units mean before training, units x dim; NaN where nobody knows.
    vectors: npt.NDArray[np.float32] | None = None

    def __init__(self, units: Sequence[str]) -> None:
        self.units = list(units)
        numbers = enumerate(self.units)  # a text that spells `</s>` must not become the end mark
        self._number = {unit: number for number, unit in numbers if number >= len(SPECIAL)}

    @classmethod
    def of(
        cls, texts: Iterable[Iterable[str]], at_least: int = 1, size: int | None = None
    ) -> Vocabulary:
        """The units seen `at_least` so often, most frequent first, ties in alphabetical order."""
        return cls(units_of(texts, at_least, size))

    def with_vectors(self, known: WordVectors) -> Vocabulary:
        """The same with these vectors, and the words that only those know."""
        new = [word for word in known.words if word not in self._number and word not in SPECIAL]
        whole = self.with_units([*self.units, *new])
        whole.vectors = np.full((len(whole), known.numbers.shape[1]), np.nan, np.float32)
        whole.vectors[whole.encode(known.words)] = known.numbers
        whole.vectors[: len(SPECIAL)] = np.nan
        return whole

    def with_units(self, units: Sequence[str]) -> Vocabulary:
        """One of the same kind with other units."""
        return type(self)(units)

    @property
    def joint(self) -> str:
        """What stands between two units in a text: nothing between characters, else a space."""
        return "" if all(len(unit) == 1 for unit in self.words) else " "

    def __len__(self) -> int:
        return len(self.units)

    @property
    def words(self) -> list[str]:
        """The units that are no marks."""
        return self.units[len(SPECIAL) :]

    def encode(self, text: Iterable[str]) -> list[int]:
        """Numbers of the units; a unit never seen is `<unk>`."""
        return [self._number.get(unit, UNKNOWN) for unit in text]

    def groups(self, text: Sequence[str]) -> Groups:
        """From the units of a text to what `encode` makes of them."""
        return Groups.same(len(text))

    def varied(self, random: Random) -> Vocabulary:
        """The same, as training meets it this time; `random` decides what can differ."""
        return self

    def decode(self, numbers: Iterable[int]) -> list[str]:
        """The text up to the end mark, without what stands for nothing in it."""
        return self.read(numbers)[0]

    def read(self, numbers: Iterable[int]) -> tuple[list[str], Groups]:
        """The text up to the end mark, and from its numbers to its units: each is its own."""
        units, positions, count = [], [], 0
        for position, number in enumerate(_ended(numbers)):
            count = position + 1
            if number >= len(SPECIAL):
                units.append(self.units[number])
                positions.append((position,))
        return units, Groups(count, tuple(positions))

    def describe(self) -> dict[str, Any]:
        """As plain values, from which `tokenizers.vocabulary_of` makes it again."""
        return {"units": self.units}


class WordForms(Vocabulary):
    """Words whose form counts: their digits may all read as 0, and letters tell unseen words apart.

    With `letters` the number of a word never seen holds its first and last letters; `letters_of`
    reads them from it.
    """

    def __init__(self, units: Sequence[str], digits: bool, letters: bool) -> None:
        super().__init__(units)
        self.digits, self.letters = digits, letters

    def with_units(self, units: Sequence[str]) -> WordForms:
        return WordForms(units, self.digits, self.letters)

    def encode(self, text: Iterable[str]) -> list[int]:
        text = list(text if self.digits else map(without_digits, text))
        numbers = super().encode(text)
        if not self.letters:
            return numbers
        unseen = len(self)
        return [
            unseen + packed_letters(word) if number == UNKNOWN else number
            for number, word in zip(numbers, text, strict=True)
        ]

    def unseen(self) -> list[int]:
        """For each unit the number that it would have if it had never been seen."""
        numbers = (len(self) + packed_letters(word) for word in self.words)
        own = numbers if self.letters else [UNKNOWN] * len(self.words)
        return [*range(len(SPECIAL)), *own]

    def read(self, numbers: Iterable[int]) -> tuple[list[str], Groups]:
        return super().read(UNKNOWN if each >= len(self) else each for each in numbers)

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"digits": self.digits, "letters": self.letters}


def without_digits(word: str) -> str:
    """`dc10` as `dc00`."""
    return re.sub(r"\d", "0", word)


def packed_letters(word: str) -> int:
    """The first and the last four letters of a word in one number, seven bits each, 0 for none.

    ASCII stands as itself, a digit as 0; other characters share the 31 codes below the space.
    """
    codes = [ord(c) if " " <= c <= "~" else 1 + ord(c) % 31 for c in without_digits(word)]
    first, last = codes[:AFFIX], codes[-AFFIX:]
    room = [0] * (AFFIX - len(first))
    number = 0
    for code in (*first, *room, *room, *last):
        number = number << LETTER_BITS | code
    return number


class Speller(Protocol):
    """Cuts one word into pieces."""

    def __call__(self, word: str) -> Sequence[str]: ...


class Known(dict[str, list[int]]):
    """The numbers of each word, found when they are first asked for."""

    def __init__(self, find: Callable[[str], list[int]]) -> None:
        super().__init__()
        self.find = find

    def __missing__(self, word: str) -> list[int]:
        self[word] = self.find(word)
        return self[word]


class Pieces(Vocabulary):
    """A vocabulary of pieces, of which words are made."""

    def __init__(self, units: Sequence[str], spell: Speller, description: dict[str, Any]) -> None:
        super().__init__(units)
        self._description = description
        self._numbers = Known(lambda word: self.numbers_of(spell(word)))

    @property
    def joint(self) -> str:
        """What is decoded is words."""
        return " "

    def encode(self, text: Iterable[str]) -> list[int]:
        return [number for word in text for number in self._numbers[word]]

    def numbers_of(self, pieces: Sequence[str]) -> list[int]:
        """Of one word, which has at least one."""
        return super().encode(pieces) or [UNKNOWN]

    def groups(self, text: Sequence[str]) -> Groups:
        sizes = [len(self._numbers[word]) for word in text]
        return Groups.of_pieces([w for w, size in enumerate(sizes) for _ in range(size)], len(text))

    def read(self, numbers: Iterable[int]) -> tuple[list[str], Groups]:
        """The words that the pieces make, and which pieces those are; none never seen."""
        pieces, known = super().read(numbers)
        words: list[str] = []
        members: list[tuple[int, ...]] = []
        for piece, (position,) in zip(pieces, known.members, strict=True):
            if piece.startswith(BEGIN) or not words:
                words.append("")
                members.append(())
            words[-1] += piece.removeprefix(BEGIN)
            members[-1] += (position,)
        kept = [w for w, word in enumerate(words) if word]
        return [words[w] for w in kept], Groups(known.old, tuple(members[w] for w in kept))

    def describe(self) -> dict[str, Any]:
        return self._description


def _ended(numbers: Iterable[int]) -> Iterator[int]:
    """Those before the end mark."""
    for number in numbers:
        if number == EOS:
            return
        yield number


def units_of(
    texts: Iterable[Iterable[str]], at_least: int = 1, size: int | None = None
) -> list[str]:
    """The special units, then those of the texts by how often they occur; `size` of them in all."""
    counts = Counter(unit for text in texts for unit in text)
    kept = [unit for unit, count in counts.items() if count >= at_least and unit not in SPECIAL]
    kept.sort(key=lambda unit: (-counts[unit], unit))
    return [*SPECIAL, *kept][:size]
