"""`ModelBuilder`: makes the building blocks of one kind of model, of matching widths."""

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
from attnlab.models.memory import Memory
from attnlab.models.units import Scores, UnitDropout, Units

STEPS = 2**16  # of the probability: each activation gets sixteen random bits


class Dropout(nn.Dropout):
    """Zeroes activations at random while training (Srivastava et al. 2014).

    PyTorch draws a number for each activation, an eighth of the time of a small Transformer's step
    on a CPU. Here one draw of 64 bits serves four activations.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - as PyTorch has it
        if input.device.type != "cpu" or not self.training or not self.p:
            return super().forward(input)
        return input * kept(input, self.p)


def kept(states: Tensor, p: float) -> Tensor:
    """Factors in the shape of `states`: zero with probability `p` (to 1 in 65,536), mean one."""
    draws = torch.empty(-(-states.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    bits = draws.view(torch.int16)[: states.numel()].view(states.shape)
    dropped = round(p * STEPS)
    keep = bits >= dropped - STEPS // 2
    return keep.to(states.dtype) * (STEPS / (STEPS - dropped))


class Common(TypedDict):
    """The settings of every kind of model."""

    dropout: float
    unit_dropout: float
    input_dropout: float
    co_attention: int
    image: Image
    audio: Audio
    sentences: SentenceVector
    prediction: AttentionConfig | None


class Shared(Common):
    """These and the ones that a pretrained model decides itself."""

    dim: int  # width of the hidden states
    tie: Tie


class ModelBuilder(ABC):
    """Embedders, encoder and decoder of one kind of model.

    A subclass gives the embedding of units, the encoder and, if it writes texts, a decoder.
    """

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
        """The width of the vectors that the encoder reads."""

    @abstractmethod
    def embedding(self, vocabulary: Vocabulary, width: int) -> nn.Module:
        """Units, batch x length, to vectors; `forward(units, start=0)` if texts are continued."""

    @abstractmethod
    def encoder(self, attention: AttentionConfig, stem: str = "encoder") -> nn.Module:
        """Memories of the embedders to memories of width `dim`; sites are named from `stem`."""

    def decoder(self, vocabulary: int, attention: AttentionConfig) -> Decoder:
        """The module that writes units one after the other."""
        raise UserError("model.kind: has no decoder; try: model=transformer, model=recurrent")

    def causal_decoder(self, vocabulary: Vocabulary, attention: AttentionConfig) -> Decoder:
        """The module that continues a text, in which each state sees the past alone.

        Its memory is a batch of prompts; see `CausalDecoder`.
        """
        raise UserError(
            "model.kind: its states see later units, too; try: model=transformer, or "
            "model=recurrent model.bidirectional=false"
        )

    def embedder(self, source: Input) -> nn.Module:
        """The module that turns one input into a memory of width `embedding_width`."""
        if isinstance(source, Text):
            embedding = self.embedding(source.vocabulary, self.embedding_width)
            return TextEmbedder(embedding, self.unit_dropout, source.vocabulary)
        if isinstance(source, Sentences):
            embedding = self.embedding(source.vocabulary, self.embedding_width)
            joined = self.sentences.build(self)
            embedder = SentenceEmbedder(embedding, self.unit_dropout, source.vocabulary, joined)
            return nn.Sequential(embedder, self.add_positions())
        if isinstance(source, Picture):
            return self.image.build(source, self.embedding_width)
        if isinstance(source, Sound):
            return nn.Sequential(
                self.audio.build(source, self.embedding_width), self.add_positions()
            )
        raise TypeError(f"no embedder for inputs of form {source.form}")

    def add_positions(self) -> nn.Module:
        """Adds positions to a memory, for encoders that do not read in order."""
        return nn.Identity()

    def attention(self, config: AttentionConfig, site: str, **sizes: int | None) -> Attention:
        """A mechanism between states of width `dim`, unless `sizes` say otherwise."""
        widths = dict.fromkeys(("query_dim", "key_dim", "value_dim", "output_dim"), self.dim)
        return Attention(config, **(widths | sizes), site=site)  # type: ignore[arg-type]


class Decoder(nn.Module, ABC):
    """Writes units: all steps in one pass while training, one step a call while decoding."""

    @abstractmethod
    def forward(self, units: Tensor, memory: Memory) -> Scores:
        """Scores of the next unit after each of `units`: batch x length x vocabulary."""

    @abstractmethod
    def start(self, memory: Memory) -> Any:
        """The state before the first unit."""

    @abstractmethod
    def step(self, units: Tensor, state: Any) -> Tensor:
        """Scores of the unit after `units` (batch): batch x vocabulary. Moves the state on."""


class TextEmbedder(nn.Module):
    """Units as vectors."""

    def __init__(
        self, embedding: nn.Module, dropout: float, vocabulary: Vocabulary | None = None
    ) -> None:
        super().__init__()
        self.embedding, self.unit_dropout = embedding, UnitDropout(dropout, vocabulary)

    def forward(self, inputs: Padded) -> Memory:
        return Memory(self.embedding(self.unit_dropout(inputs.values)), inputs.mask)


class SentenceEmbedder(TextEmbedder):
    """Words as vectors, then one vector of each sentence."""

    def __init__(
        self,
        embedding: nn.Module,
        dropout: float,
        vocabulary: Vocabulary,
        sentence_vector: nn.Module,
    ) -> None:
        super().__init__(embedding, dropout, vocabulary)
        self.joined = sentence_vector

    def forward(self, inputs: Padded) -> Memory:
        units = inputs.values  # batch x sentences x words
        words = self.embedding(self.unit_dropout(units).flatten(0, 1)).unflatten(0, units.shape[:2])
        return Memory(self.joined(words, units != PAD), inputs.mask)


class Queries(nn.Module):
    """Learned queries, shifted by the query seed: batch x count x dim."""

    def __init__(self, count: int, dim: int) -> None:
        super().__init__()
        self.learned = nn.Parameter(dim**-0.5 * torch.randn(count, dim))
        self.project = nn.Linear(dim, dim)

    def forward(self, query_seed: Tensor) -> Tensor:
        """query_seed: batch x dim."""
        return self.learned + self.project(query_seed)[:, None]
