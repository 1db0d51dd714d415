"""Tokenizers: words to the units of a vocabulary, trained on the training split.

A word is cut on its own, whatever stands beside it, so that every unit belongs to one word: gold
maps over words become maps over units, and maps over units become maps over words again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from copy import copy
from itertools import pairwise
from random import Random
from typing import Any, Protocol

from attnlab.data.pretrained import PretrainedPieces
from attnlab.data.vocabulary import (
    BEGIN,
    SPECIAL,
    UNKNOWN,
    Known,
    Pieces,
    Speller,
    Texts,
    Vocabulary,
    WordForms,
    units_of,
    without_digits,
)

# Words are few beside what training costs; with threads of its own the library could not be forked
# by the loader's workers.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from tokenizers import Tokenizer, models, pre_tokenizers, trainers


class Fitter(Protocol):
    """Learns a vocabulary from texts."""

    def fit(self, texts: Texts) -> Vocabulary: ...


class VariedPieces(Pieces):
    """Pieces of BPE that training meets with merges left out (Provilkov et al. 2020).

    Each word has so many ways of being spelled, drawn once; the same in every process.
    """

    WAYS = 32

    def __init__(
        self, units: Sequence[str], spell: Speller, model: dict[str, Any], dropout: float
    ) -> None:
        super().__init__(units, spell, {"model": model, "dropout": dropout})
        self.rank = {tuple(pair): rank for rank, pair in enumerate(model["merges"])}
        self.dropout = dropout
        self.known_ways: dict[str, list[list[int]]] = {}

    def varied(self, random: Random) -> Pieces:
        """One way for each word, the same as long as this is used."""
        met = copy(self)
        met._numbers = Known(lambda word: random.choice(self.ways(word)))
        return met

    def ways(self, word: str) -> list[list[int]]:
        """The numbers of each way to spell a word."""
        if word not in self.known_ways:
            random = Random(word)
            drawn = (self.merged(word, random) for _ in range(self.WAYS))
            self.known_ways[word] = [self.numbers_of(pieces) for pieces in drawn]
        return self.known_ways[word]

    def merged(self, word: str, random: Random) -> list[str]:
        """The pieces of a word, where each merge that could be next may be left out."""
        pieces = spelled(word)
        while True:
            possible = [
                (self.rank[pair], position)
                for position, pair in enumerate(pairwise(pieces))
                if pair in self.rank and random.random() >= self.dropout
            ]
            if not possible:
                return pieces
            _, position = min(possible)
            pieces[position : position + 2] = ["".join(pieces[position : position + 2])]


class Words:
    """Each word is a unit."""

    def __init__(self, *, size: int | None, at_least: int, digits: bool, letters: bool) -> None:
        self.size, self.at_least = size, at_least
        self.digits, self.letters = digits, letters

    def fit(self, texts: Texts) -> Vocabulary:
        if not self.digits:
            texts = ([without_digits(word) for word in text] for text in texts)
        units = units_of(texts, self.at_least, self.size)
        if self.digits and not self.letters:
            return Vocabulary(units)
        return WordForms(units, self.digits, self.letters)


class Characters:
    """Each character is a unit, and so is the mark before each word."""

    def __init__(self, *, at_least: int) -> None:
        self.at_least = at_least

    def fit(self, texts: Texts) -> Vocabulary:
        letters = (spelled(word) for text in texts for word in text)
        return _characters(units_of(letters, self.at_least))


class Bpe:
    """Pieces of words, merged pair by pair (Sennrich et al. 2016)."""

    def __init__(self, *, size: int, at_least: int, dropout: float) -> None:
        self.size, self.at_least, self.dropout = size, at_least, dropout

    def fit(self, texts: Texts) -> Vocabulary:
        trainer = trainers.BpeTrainer(
            vocab_size=self.size,
            min_frequency=self.at_least,
            special_tokens=list(SPECIAL),
            show_progress=False,
        )
        model = _trained(models.BPE(unk_token=SPECIAL[UNKNOWN]), trainer, texts)
        return _pieces(model, self.dropout)


class Unigram:
    """Pieces of words under a unigram model (Kudo 2018).

    Trained again it may differ in a few units: the library sees words in no fixed order.
    """

    def __init__(self, *, size: int) -> None:
        self.size = size

    def fit(self, texts: Texts) -> Vocabulary:
        trainer = trainers.UnigramTrainer(
            vocab_size=self.size,
            unk_token=SPECIAL[UNKNOWN],
            special_tokens=list(SPECIAL),
            show_progress=False,
        )
        return _pieces(_trained(models.Unigram(), trainer, texts))


def vocabulary_of(content: dict[str, Any]) -> Vocabulary:
    """The vocabulary that `describe` wrote down."""
    if "characters" in content:
        return _characters(content["characters"])
    if "pretrained" in content:
        return PretrainedPieces.described(content)
    if "model" in content:
        return _pieces(content["model"], content.get("dropout", 0.0))
    digits, letters = content.get("digits", True), content.get("letters", False)
    if digits and not letters:
        return Vocabulary(content["units"])
    return WordForms(content["units"], digits, letters)


def spelled(word: str) -> list[str]:
    """The characters of a word behind the mark of its begin."""
    return [BEGIN, *word]


def _characters(units: list[str]) -> Pieces:
    return Pieces(units, spelled, {"characters": units})


def _trained(model: Any, trainer: Any, texts: Texts) -> dict[str, Any]:
    """What the library's own file says of the model."""
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = _each_word()
    tokenizer.train_from_iterator(_words(texts), trainer)
    return json.loads(tokenizer.to_str())["model"]


def _words(texts: Texts) -> Iterator[str]:
    """Text by text; the tokenizer parts the words again."""
    return (" ".join(text) for text in texts)


def _pieces(model: dict[str, Any], dropout: float = 0.0) -> Pieces:
    """From the model alone, without texts that the library reads as special units."""
    tokenizer = Tokenizer.from_str(_whole(model))
    numbers = tokenizer.get_vocab(with_added_tokens=False)
    units = sorted(numbers, key=lambda unit: numbers[unit])

    def spell(word: str) -> list[str]:
        return tokenizer.encode(word, add_special_tokens=False).tokens

    if dropout:
        return VariedPieces(units, spell, model, dropout)
    return Pieces(units, spell, {"model": model})


def _whole(model: dict[str, Any]) -> str:
    """A model as the library's own file has it."""
    empty = Tokenizer(models.BPE())
    empty.pre_tokenizer = _each_word()
    return json.dumps(json.loads(empty.to_str()) | {"model": model})


def _each_word() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Metaspace(replacement=BEGIN, prepend_scheme="always", split=True)
