"""Units of text as vectors: the matrix, its beginnings, what letters add, and what is left out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from attnlab.data.vocabulary import AFFIX, LETTER_BITS, PAD, SPECIAL, UNKNOWN, Vocabulary, WordForms
from attnlab.errors import UserError
from attnlab.models.config import Tie


class UnitDropout(nn.Module):
    """Replaces some units by the unknown one while training, whose vector is so learned.

    (Word dropout, Iyyer et al. 2015, Kiperwasser & Goldberg 2016; of a decoder's input, Bowman et
    al. 2016.) Special units stay.
    """

    def __init__(self, p: float, vocabulary: Vocabulary | None = None) -> None:
        super().__init__()
        self.p = p
        forms = isinstance(vocabulary, WordForms) and vocabulary.letters
        unseen = torch.tensor(vocabulary.unseen()) if forms else None  # type: ignore[union-attr]
        self.register_buffer("unseen", unseen, persistent=False)

    unseen: Tensor | None  # for each unit its number if it had never been seen

    def forward(self, units: Tensor) -> Tensor:
        """Units of any shape."""
        if not (self.training and self.p):
            return units
        hidden = (torch.rand(units.shape, device=units.device) < self.p) & (units >= len(SPECIAL))
        if self.unseen is None:
            return units.masked_fill(hidden, UNKNOWN)
        hidden &= units < len(self.unseen)
        return units.where(~hidden, self.unseen[units.masked_fill(~hidden, UNKNOWN)])


class LetteredEmbedding(nn.Embedding):
    """The vector of a word, which is the sum of its own and those of its affixes.

    Affixes are the first and the last two, three and four letters, as in fastText (Bojanowski et
    al. 2017), where words have all their n-grams. A word that training has not seen has the vector
    of the unknown one and those of its affixes that other words have.
    """

    LENGTHS = (2, 3, 4)

    def __init__(self, words: nn.Embedding, vocabulary: WordForms) -> None:
        super().__init__(*words.weight.shape, padding_idx=PAD, _weight=words.weight)
        letters = torch.tensor(vocabulary.unseen()) - len(vocabulary)
        self.register_buffer("letters", letters.clamp_min(0), persistent=False)
        known = self.affixes_of(self.letters[len(SPECIAL) :]).unique()
        self.register_buffer("known", known, persistent=False)
        self.affixes = nn.Embedding(1 + len(known), self.embedding_dim, padding_idx=0)
        self.affixes.weight.data *= float(words.weight.detach().square().mean().sqrt())

    letters: Tensor  # of each unit
    known: Tensor  # affixes of the units, in ascending order

    def affixes_of(self, letters: Tensor) -> Tensor:
        """The ids of the affixes of words, from their packed letters: ... -> ... x affixes."""
        half = AFFIX * LETTER_BITS
        first, last = letters >> half, letters & ((1 << half) - 1)
        cut = [LETTER_BITS * length for length in self.LENGTHS]
        affixes = [first >> (half - bits) for bits in cut]
        affixes += [last & ((1 << bits) - 1) for bits in cut]
        return torch.stack([n << 3 | kind for kind, n in enumerate(affixes)], -1)

    def forward(self, units: Tensor) -> Tensor:  # type: ignore[override]
        """Units of any shape."""
        unseen = units >= self.num_embeddings
        words = super().forward(units.masked_fill(unseen, UNKNOWN))
        letters = self.letters[units.masked_fill(unseen, UNKNOWN)]
        affixes = self.affixes_of(letters.where(~unseen, units - self.num_embeddings))
        place = torch.searchsorted(self.known, affixes).clamp_max(len(self.known) - 1)
        there = self.known[place] == affixes
        return words + self.affixes((place + 1) * there).sum(-2)


class UnitScores(nn.Linear):
    """The layer from states to a score of every unit."""

    at_once: int | None = None  # more scores than so many are `LaterScores`

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        input: Tensor,  # noqa: A002 - as PyTorch has it
    ) -> Scores:
        """... x width -> ... x units."""
        scores = input.shape[:-1].numel() * self.out_features
        if self.at_once is None or scores <= self.at_once:
            return super().forward(input)
        return LaterScores(input, self)


class LaterScores(NamedTuple):
    """More scores than memory should hold at once: they are computed where they are needed.

    A loss and the likeliest units need them piece by piece. What needs all of them at once takes
    `scores`.
    """

    states: Tensor  # ... x width
    layer: UnitScores

    @property
    def scores(self) -> Tensor:
        """... x units, computed anew at every access."""
        return self.of(self.states)

    def of(self, states: Tensor) -> Tensor:
        """Scores of other states, ... x units."""
        return nn.Linear.forward(self.layer, states)

    def pieces(self) -> Iterator[slice]:
        """Rows whose scores are in memory together, of states that are rows x width."""
        size = max(1, (self.layer.at_once or 0) // self.layer.out_features)
        for start in range(0, len(self.states), size):
            yield slice(start, start + size)

    def flatten(self, first: int, last: int) -> LaterScores:
        """As a tensor of scores does it."""
        return self._replace(states=self.states.flatten(first, last))

    def argmax(self, dim: int) -> Tensor:
        """The likeliest units, ...; `dim` is the last one."""
        rows = self._replace(states=self.states.flatten(0, -2))
        best = [rows.of(rows.states[piece]).argmax(dim) for piece in rows.pieces()]
        return torch.cat(best).view(self.states.shape[:-1])


Scores = Tensor | LaterScores


def whole(scores: Scores) -> Tensor:
    """All scores at once."""
    return scores.scores if isinstance(scores, LaterScores) else scores


def limit_scores(model: nn.Module, at_once: int | None) -> None:
    """Have the layers that score units hold no more scores than so many; None is no limit."""
    for layer in model.modules():
        if isinstance(layer, UnitScores):
            layer.at_once = at_once


class Units:
    """Makes embedding matrices, which output layers and other texts may share.

    (Press & Wolf 2017.) `std` is the spread of new vectors, by default that of a layer's weights.
    Pretrained word vectors are scaled to that spread.
    """

    def __init__(self, tie: Tie, width_key: str, std: float | None = None) -> None:
        self.tie: Tie = tie
        self.width_key, self.std = width_key, std  # the key is that of the vectors' width
        self._shared: nn.Embedding | None = None  # the matrix of all texts, once there is one

    def words(self, vocabulary: Vocabulary, width: int) -> nn.Embedding:
        """The matrix of a text that is read, from its word vectors where it has some."""
        embedding = self.embedding(len(vocabulary), width)
        if vocabulary.vectors is not None:
            vectors = torch.tensor(vocabulary.vectors)  # vocabulary x width
            if vectors.shape[1] != width:
                raise UserError(
                    f"dataset.vectors: {vectors.shape[1]} numbers a word, where the model has "
                    f"{width}; try: {self.width_key}={vectors.shape[1]}"
                )
            known = ~vectors.isnan().any(1)
            spread = self.std or width**-0.5
            vectors = vectors * (spread / vectors[known].square().mean().sqrt())
            embedding.weight.data[known] = vectors[known]
        if isinstance(vocabulary, WordForms) and vocabulary.letters:
            return LetteredEmbedding(embedding, vocabulary)
        return embedding

    def embedding(self, vocabulary: int, width: int) -> nn.Embedding:
        """A matrix of its own, or the one of all texts."""
        if self.tie == "all" and self._shared is not None:
            if self._shared.num_embeddings != vocabulary:
                sizes = f"{self._shared.num_embeddings} and {vocabulary}"
                raise UserError(f"model.tie: 'all' needs one vocabulary; these have {sizes} units")
            return self._shared
        self._shared = nn.Embedding(vocabulary, width, padding_idx=PAD)
        if self.std is None:
            nn.init.normal_(self._shared.weight, std=width**-0.5)
        else:
            self._shared.weight.data *= self.std
        return self._shared

    def output(self, embedding: nn.Embedding, width: int) -> UnitScores:
        """The layer from states of this width to a score of every unit."""
        output = UnitScores(width, embedding.num_embeddings)
        if self.tie != "none":
            output.weight = embedding.weight
        return output
