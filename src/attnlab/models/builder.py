"""`ModelBuilder`: what a kind of model has to offer - its building blocks, of matching widths."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, TypedDict, Unpack

import torch
from torch import Tensor, nn

from attnlab.attention.mechanism import Attention
from attnlab.config.attention import AttentionConfig
from attnlab.config.model import Audio, Image, SentenceVector
from attnlab.data.batch import Padded
from attnlab.data.inputs import Input, Picture, Sentences, Sound, Text
from attnlab.data.vocabulary import PAD, Vocabulary
from attnlab.errors import UserError
from attnlab.models.config import Tie
from attnlab.models.dropout import UnitDropout
from attnlab.models.memory import Memory


class Common(TypedDict):
    """The settings that every kind of model has."""

    dropout: float
    unit_dropout: float
    input_dropout: float
    co_attention: int
    image: Image
    audio: Audio
    sentences: SentenceVector
    prediction: AttentionConfig | None


class Shared(Common):
    """The same with what a pretrained model brings itself."""

    dim: int  # width of the hidden states
    tie: Tie


class ModelBuilder(ABC):
    """Fronts, encoder and decoder of one kind; a subclass says what the last two are."""

    def __init__(self, **shared: Unpack[Shared]) -> None:
        self.dim, self.dropout = shared["dim"], shared["dropout"]
        self.tie: Tie = shared["tie"]
        self.units = Units(self.tie, "model.dim")
        self.unit_dropout = shared["unit_dropout"]
        self.input_dropout = shared["input_dropout"]
        self.image, self.audio = shared["image"], shared["audio"]
        self.sentences = shared["sentences"]
        self.prediction = shared["prediction"]

    @property
    @abstractmethod
    def embedding_width(self) -> int:
        """The width of what the encoder reads."""

    @abstractmethod
    def embedding(self, vocabulary: Vocabulary, width: int) -> nn.Module:
        """Numbers of units, batch x length, to vectors."""

    @abstractmethod
    def encoder(self, attention: AttentionConfig, stem: str = "encoder") -> nn.Module:
        """From what the embedders see to a memory of width `dim`; sites are named from `stem`."""

    @abstractmethod
    def decoder(self, vocabulary: int, attention: AttentionConfig) -> Decoder:
        """What writes units one after the other."""

    def embedder(self, found: Input) -> nn.Module:
        """What turns one input into a memory of width `embedding_width`."""
        if isinstance(found, Text):
            embedding = self.embedding(found.vocabulary, self.embedding_width)
            return TextEmbedder(embedding, self.unit_dropout)
        if isinstance(found, Sentences):
            embedding = self.embedding(found.vocabulary, self.embedding_width)
            embedder = SentenceEmbedder(embedding, self.unit_dropout, self.sentences.build(self))
            return nn.Sequential(embedder, self.places())
        if isinstance(found, Picture):
            return self.image.build(found, self.embedding_width)
        if isinstance(found, Sound):
            return nn.Sequential(self.audio.build(found, self.embedding_width), self.places())
        raise TypeError(f"no embedder for inputs of form {found.form}")

    def places(self) -> nn.Module:
        """What tells an encoder the order of a memory; nothing where it reads in order."""
        return nn.Identity()

    def attention(self, config: AttentionConfig, site: str, **sizes: int | None) -> Attention:
        """A mechanism between states of width `dim`, unless `sizes` say otherwise."""
        widths = dict.fromkeys(("query_dim", "key_dim", "value_dim", "output_dim"), self.dim)
        return Attention(config, **(widths | sizes), site=site)  # type: ignore[arg-type]


class Units:
    """Makes a vector for each unit of a text; output layer and other texts may share the matrix.

    (Press & Wolf 2017.) `std` is its spread at the start, without one that of a layer's weights.
    Words whose vectors are given start from these, brought to that spread.
    """

    def __init__(self, tie: Tie, width_key: str, std: float | None = None) -> None:
        self.tie: Tie = tie
        self.width_key, self.std = width_key, std  # the setting that says how wide vectors are
        self._of_all: nn.Embedding | None = None  # the matrix of all texts, once one has asked

    def words(self, vocabulary: Vocabulary, width: int) -> nn.Embedding:
        """The same for a text that is read, which may say what its words mean."""
        embedding = self.embedding(len(vocabulary), width)
        if vocabulary.vectors is not None:
            given = torch.tensor(vocabulary.vectors)  # vocabulary x width
            if given.shape[1] != width:
                raise UserError(
                    f"dataset.vectors: {given.shape[1]} numbers a word, where the model has "
                    f"{width}; try: {self.width_key}={given.shape[1]}"
                )
            known = ~given.isnan().any(1)
            spread = self.std or width**-0.5
            given = given * (spread / given[known].square().mean().sqrt())
            embedding.weight.data[known] = given[known]
        return embedding

    def embedding(self, vocabulary: int, width: int) -> nn.Embedding:
        """A matrix of its own, or the one of all texts."""
        if self.tie == "all" and self._of_all is not None:
            if self._of_all.num_embeddings != vocabulary:
                sizes = f"{self._of_all.num_embeddings} and {vocabulary}"
                raise UserError(f"model.tie: 'all' needs one vocabulary; these have {sizes} units")
            return self._of_all
        self._of_all = nn.Embedding(vocabulary, width, padding_idx=PAD)
        if self.std is None:
            nn.init.normal_(self._of_all.weight, std=width**-0.5)
        else:
            self._of_all.weight.data *= self.std
        return self._of_all

    def output(self, embedding: nn.Embedding, width: int) -> nn.Linear:
        """From states of this width to a score for every unit that `embedding` knows."""
        output = nn.Linear(width, embedding.num_embeddings)
        if self.tie != "none":
            output.weight = embedding.weight
        return output


class Decoder(nn.Module, ABC):
    """Writes units, one after the other: all steps at once while training, else step by step."""

    @abstractmethod
    def forward(self, units: Tensor, memory: Memory) -> Tensor:
        """Scores of the next unit after each of `units`: batch x length x vocabulary."""

    @abstractmethod
    def start(self, memory: Memory) -> Any:
        """The state before the first unit."""

    @abstractmethod
    def step(self, units: Tensor, state: Any) -> Tensor:
        """Scores of the unit after `units` (batch): batch x vocabulary. Moves the state on."""


class TextEmbedder(nn.Module):
    """Units as vectors."""

    def __init__(self, embedding: nn.Module, dropout: float) -> None:
        super().__init__()
        self.embedding, self.shown = embedding, UnitDropout(dropout)

    def forward(self, inputs: Padded) -> Memory:
        return Memory(self.embedding(self.shown(inputs.values)), inputs.mask)


class SentenceEmbedder(TextEmbedder):
    """Words as vectors, then those of each sentence as one."""

    def __init__(self, embedding: nn.Module, dropout: float, joined: nn.Module) -> None:
        super().__init__(embedding, dropout)
        self.joined = joined

    def forward(self, inputs: Padded) -> Memory:
        units = inputs.values  # batch x sentences x words
        words = self.embedding(self.shown(units).flatten(0, 1)).unflatten(0, units.shape[:2])
        return Memory(self.joined(words, units != PAD), inputs.mask)


class Queries(nn.Module):
    """Learned queries, shifted by the query seed: batch x count x dim."""

    def __init__(self, count: int, dim: int) -> None:
        super().__init__()
        self.learned = nn.Parameter(dim**-0.5 * torch.randn(count, dim))
        self.moved = nn.Linear(dim, dim)

    def forward(self, query_seed: Tensor) -> Tensor:
        """query_seed: batch x dim."""
        return self.learned + self.moved(query_seed)[:, None]
