"""What training does to the words of a text, drawn anew in each epoch; gold maps go with the words.

Words, not units: a text is changed before a tokenizer cuts it. What is drawn depends on the seed,
the epoch and the example's place alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from random import Random
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from attnlab.config.dataset import Augment
from attnlab.data.codec import Codec
from attnlab.data.example import Example
from attnlab.data.groups import Groups
from attnlab.data.vocabulary import MASKS, SPECIAL, UNKNOWN, Vocabulary
from attnlab.errors import UserError

FORMS = ("label", "numbers", "units")  # answers that do not count the words of an input
SHORTEST = 3  # letters of a word that can be misspelt
NEAREST = 8  # neighbours of a word, of which one is drawn

Made = list[tuple[str, int | None]]  # each word, and which old one it is; None where it is new


class TextStep(ABC):
    """One change of a text."""

    def fit(self, codec: Codec, name: str) -> None:
        """Read what the step needs of the vocabularies; `name` is its key in `dataset.augment`."""
        return

    @abstractmethod
    def change(self, words: Sequence[str], random: Random) -> Made:
        """The words of a text that has some, changed."""


class DropWords(TextStep):
    """Each word is left out by a chance; one stays (Iyyer et al. 2015)."""

    def __init__(self, *, chance: float) -> None:
        self.chance = chance

    def change(self, words: Sequence[str], random: Random) -> Made:
        made: Made = [(w, i) for i, w in enumerate(words) if random.random() >= self.chance]
        if made:
            return made
        one = random.randrange(len(words))
        return [(words[one], one)]


class SwapWords(TextStep):
    """Two words change places, as often as a share of the text's length (Wei & Zou 2019)."""

    def __init__(self, *, share: float) -> None:
        self.share = share

    def change(self, words: Sequence[str], random: Random) -> Made:
        made: Made = [(word, i) for i, word in enumerate(words)]
        for _ in range(round(self.share * len(words))):
            one, other = random.randrange(len(made)), random.randrange(len(made))
            made[one], made[other] = made[other], made[one]
        return made


class MaskWords(TextStep):
    """Stretches of words are replaced by one mark each (text infilling, Lewis et al. 2020)."""

    def __init__(self, *, share: float, span: int) -> None:
        self.span = span
        self.chance = share / (span * (1 - share) + share)  # that a stretch begins at a word
        self.mark = SPECIAL[UNKNOWN]

    def fit(self, codec: Codec, name: str) -> None:
        units = {unit for each in codec.texts.values() for unit in each.units}
        self.mark = next((mark for mark in MASKS if mark in units), self.mark)

    def change(self, words: Sequence[str], random: Random) -> Made:
        made: Made = []
        place = 0
        while place < len(words):
            hidden = random.random() < self.chance
            made.append((self.mark if hidden else words[place], place))
            place += random.randint(1, 2 * self.span - 1) if hidden else 1
        return made


class Typos(TextStep):
    """A share of the words is misspelt (Belinkov & Bisk 2018)."""

    def __init__(self, *, share: float) -> None:
        self.share = share

    def change(self, words: Sequence[str], random: Random) -> Made:
        chosen = set(random.sample(range(len(words)), round(self.share * len(words))))
        return [
            (random.choice(misspelt(word) or [word]) if i in chosen else word, i)
            for i, word in enumerate(words)
        ]


def misspelt(word: str) -> list[str]:
    """A word with one letter left out, one doubled, or two exchanged; the first stays."""
    if len(word) < SHORTEST:
        return []
    made: list[str] = []
    for i in range(1, len(word)):
        made += [word[:i] + word[i + 1 :], word[:i] + word[i] + word[i:]]
        if i + 1 < len(word) and word[i] != word[i + 1]:
            made.append(word[:i] + word[i + 1] + word[i] + word[i + 2 :])
    return made


class FromVectors(TextStep):
    """Words near in meaning, by the word vectors of the data."""

    def __init__(self, *, share: float, least: float) -> None:
        self.share, self.least = share, least
        self.known: list[Neighbours] = []  # of each vocabulary

    def fit(self, codec: Codec, name: str) -> None:
        for vocabulary in codec.texts.values():
            if vocabulary.vectors is None:
                raise UserError(
                    f"dataset.augment.{name}: words have no vectors; try: dataset/vectors=counted"
                )
            vectors = torch.tensor(np.asarray(vocabulary.vectors)).nan_to_num()
            self.known.append(Neighbours(vocabulary, vectors, NEAREST, self.least))

    def near(self, word: str, random: Random) -> str | None:
        """One of a word's neighbours; None where it has none."""
        found = [other for neighbours in self.known for other in neighbours(word)]
        return random.choice(found) if found else None


class Synonyms(FromVectors):
    """A share of the words is replaced by neighbours (Wei & Zou 2019)."""

    def change(self, words: Sequence[str], random: Random) -> Made:
        chosen = set(random.sample(range(len(words)), round(self.share * len(words))))
        return [
            ((self.near(word, random) or word) if i in chosen else word, i)
            for i, word in enumerate(words)
        ]


class InsertWords(FromVectors):
    """Neighbours of a share of the words are put in anywhere (Wei & Zou 2019)."""

    def change(self, words: Sequence[str], random: Random) -> Made:
        made: Made = [(word, i) for i, word in enumerate(words)]
        for i in random.sample(range(len(words)), round(self.share * len(words))):
            if (near := self.near(words[i], random)) is not None:
                made.insert(random.randrange(len(made) + 1), (near, None))
        return made


class Neighbours:
    """A word's nearest ones among the vectors of a vocabulary, the nearest first."""

    def __init__(self, vocabulary: Vocabulary, vectors: Tensor, count: int, least: float) -> None:
        self.units, self.count, self.least = vocabulary.units, count, least
        self.numbers = {unit: number for number, unit in enumerate(self.units)}
        self.vectors = F.normalize(vectors[: len(self.units)].float(), dim=-1)
        self.found = cache(self._found)

    def __call__(self, word: str) -> list[str]:
        """At most `count` words with a cosine of at least `least`."""
        number = self.numbers.get(word)
        return [] if number is None or number < len(SPECIAL) else self.found(number)

    def _found(self, number: int) -> list[str]:
        near = self.vectors @ self.vectors[number]
        near[: len(SPECIAL)] = near[number] = -1.0
        cosines, best = near.topk(min(self.count, len(near)))
        pairs = zip(cosines.tolist(), best.tolist(), strict=True)
        return [self.units[other] for cosine, other in pairs if cosine >= self.least]


class TextAugmenter:
    """All steps of a dataset that change texts."""

    def __init__(self, steps: Mapping[str, Augment], codec: Codec) -> None:
        self.steps: list[TextStep] = []
        self.names = list(codec.texts)
        for name, step in steps.items():
            where = f"dataset.augment.{name}: '{step.kind}'"
            if not codec.texts:
                forms = ", ".join(sorted({each.form for each in codec.inputs.values()}))
                raise UserError(f"{where} changes a text; there is: {forms}")
            if codec.form not in FORMS or codec.layout.rows == "input":
                raise UserError(f"{where} would move words away from their answers ({codec.form})")
            made: Any = step.build()
            made.fit(codec, name)
            self.steps.append(made)

    def __call__(self, example: Example, random: Random) -> Example:
        """The example with its texts changed, and gold over the words that are there now."""
        for step in self.steps:
            for name in self.names:
                words: Any = example.inputs[name]
                if words:
                    example = _with(example, name, step.change(words, random))
        return example


def _with(example: Example, name: str, made: Made) -> Example:
    old: Any = example.inputs[name]
    inputs = example.inputs | {name: [word for word, _ in made]}
    target = example.target
    if target is not None and name == example.attended:
        members = tuple(() if source is None else (source,) for _, source in made)
        target = target.regroup_keys(Groups(len(old), members))
        new = np.array([source is None for _, source in made])
        target = replace(target, key_mask=target.key_mask | new)
    return replace(example, inputs=inputs, target=target)
