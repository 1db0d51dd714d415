"""`Vocabulary`: units of text to numbers and back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

PAD, BOS, EOS, UNKNOWN = 0, 1, 2, 3
SPECIAL = ("<pad>", "<s>", "</s>", "<unk>")


class Vocabulary:
    """Units in the order of their numbers; the first four are special."""

    def __init__(self, units: Sequence[str]) -> None:
        self.units = list(units)
        self._number = {unit: number for number, unit in enumerate(self.units)}

    @classmethod
    def of(cls, texts: Iterable[Iterable[str]], at_least: int = 1) -> Vocabulary:
        """The units seen `at_least` so often, most frequent first, ties in alphabetical order."""
        counts = Counter(unit for text in texts for unit in text)
        kept = [unit for unit, count in counts.items() if count >= at_least]
        kept.sort(key=lambda unit: (-counts[unit], unit))
        return cls([*SPECIAL, *kept])

    @property
    def joint(self) -> str:
        """What stands between two units in a text: nothing between characters, else a space."""
        return "" if all(len(unit) == 1 for unit in self.units[len(SPECIAL) :]) else " "

    def __len__(self) -> int:
        return len(self.units)

    def encode(self, text: Iterable[str]) -> list[int]:
        """Numbers of the units; a unit never seen is `<unk>`."""
        return [self._number.get(unit, UNKNOWN) for unit in text]

    def decode(self, numbers: Iterable[int]) -> list[str]:
        """Units up to the end mark, without the special ones."""
        text: list[str] = []
        for number in numbers:
            if number == EOS:
                break
            if number >= len(SPECIAL):
                text.append(self.units[number])
        return text
