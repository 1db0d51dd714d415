"""What a model is made of. `conf/model/*.yaml` holds the default values."""

from __future__ import annotations

import math
from typing import Any, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from attnlab.config.attention import AttentionConfig
from attnlab.config.section import Section, Variant


class Image(Variant, slot="image"):
    """How pictures become cells that can be attended to."""

    @property
    def stride(self) -> int:
        """Pixels of a cell, each way."""
        raise NotImplementedError


class Convolution(Image, kind="convolution", target="attnlab.models.image:Convolution"):
    """Blocks of convolutions, each with a shortcut (He et al. 2016); a cell is an output place."""

    channels: list[int] = Field(min_length=1, description="channels of each block")
    strides: list[Literal[1, 2]] = Field(min_length=1, description="2 halves both sides, 1 keeps")

    @model_validator(mode="after")
    def _as_many_strides(self) -> Self:
        if len(self.channels) != len(self.strides):
            raise ValueError(f"{len(self.channels)} channels beside {len(self.strides)} strides")
        return self

    @property
    def stride(self) -> int:
        return math.prod(self.strides)


class Pyramid(Convolution, kind="pyramid", target="attnlab.models.image:Pyramid"):
    """The same, seen at several scales: coarse places are laid over fine ones (Lin et al. 2017)."""

    finest: int = Field(gt=0, description="pixels of a cell: the stride of the finest scale used")

    @model_validator(mode="after")
    def _a_scale_that_is_there(self) -> Self:
        scales = [math.prod(self.strides[: i + 1]) for i in range(len(self.strides))]
        if self.finest not in scales:
            raise ValueError(f"finest is {self.finest}; allowed: {', '.join(map(str, scales))}")
        return self

    @property
    def stride(self) -> int:
        return self.finest


class Patches(Image, kind="patches", target="attnlab.models.image:Patches"):
    """Squares of pixels, each through the same layers: one in a ViT (Dosovitskiy et al. 2021).

    A patch as large as the picture with hidden layers is a fully connected network.
    """

    size: int = Field(gt=0, description="pixels of a patch, each way")
    hidden: list[PositiveInt] = Field(description="widths of layers before the last one")

    @property
    def stride(self) -> int:
        return self.size


class SentenceVector(Variant, slot="sentence_vector"):
    """How the words of a sentence become one state that can be attended to."""


class Bag(SentenceVector, kind="bag", target="attnlab.models.sentences:Bag"):
    """The sum of the words, whatever their order."""


class Position(SentenceVector, kind="position", target="attnlab.models.sentences:Position"):
    """A sum in which the place of a word counts (Sukhbaatar et al. 2015)."""


class WordAttention(
    SentenceVector, kind="attention", target="attnlab.models.sentences:WordAttention"
):
    """A query looks over the words (Yang et al. 2016)."""

    attention: AttentionConfig = Field(description="the mechanism; its maps are at `words.pooling`")


class Audio(Variant, slot="audio"):
    """How waveforms become steps that can be attended to."""

    @property
    def stride(self) -> int:
        """Frames of a step."""
        raise NotImplementedError


class Blanks(Section):
    """What training blanks out of each spectrum (SpecAugment, Park et al. 2019)."""

    count: int = Field(ge=0, description="stretches of time, and as many of bands")
    frames: int = Field(gt=0, description="most frames of a stretch of time")
    bands: int = Field(gt=0, description="most bands of one of the other kind")


class LogMel(Audio, kind="log_mel", target="attnlab.models.audio:LogMel"):
    """Log-mel spectrum, then convolutions over time (as in Gulati et al. 2020 and Whisper)."""

    bands: int = Field(gt=0, description="mel bands")
    window: float = Field(ge=1, description="length of the window, in hops")
    channels: list[int] = Field(description="channels of each convolution over time")
    strides: list[Literal[1, 2]] = Field(description="2 halves the number of steps, 1 keeps it")
    blanks: Blanks

    @model_validator(mode="after")
    def _as_many_strides(self) -> Self:
        if len(self.channels) != len(self.strides):
            raise ValueError(f"{len(self.channels)} channels beside {len(self.strides)} strides")
        return self

    @property
    def stride(self) -> int:
        return math.prod(self.strides)


class Model(Variant, slot="model"):
    """A front for each form of input, an encoder, and what the task asks for to answer."""

    name: str = Field(description="shown in run names and tables")
    dropout: float = Field(ge=0, lt=1, description="share of activations dropped in training")
    unit_dropout: float = Field(
        ge=0,
        lt=1,
        description="share of a text's units, read or written, that training shows as unknown ones",
    )
    input_dropout: float = Field(
        ge=0,
        lt=1,
        description="share of the examples of which training leaves out one of several inputs, so "
        "that the model learns to do without (modality dropout)",
    )
    co_attention: int = Field(
        ge=0,
        description="rounds in which each of several inputs, read by its own encoder, attends to "
        "the others (Lu et al. 2016); 0 reads all of them as one sequence",
    )
    image: Image = Field(description="the front of inputs that are pictures")
    audio: Audio = Field(description="the front of inputs that are sounds")
    sentences: SentenceVector = Field(
        description="how words become one state, in inputs whose sentences are attended to"
    )
    prediction: AttentionConfig | None = Field(
        description="a layer between encoder and decoder that predicts where each part of the "
        "answer looks; what follows sees the input through it alone. null is none"
    )


def has_middle(kernel: int) -> None:
    if kernel % 2 == 0:
        raise ValueError(f"a kernel of {kernel} has no middle; use an odd number")


EMBEDDING_STD = (
    "spread of the embeddings at the start: wide, and units are soon told apart; narrow, and words "
    "that training seldom sees say little. Tied ones start like the weights of the output layer"
)
Tie = Literal["none", "output", "all"]
TIE = (
    "embeddings that are one matrix: none; the decoder's and its output layer's (Press & Wolf "
    "2017); all, the encoder's too, which needs one vocabulary for all texts; of a ranker, items "
    "as they are read and as they are ranked"
)


class Recurrent(Model, kind="recurrent", target="attnlab.models.recurrent:Recurrent"):
    """Recurrent encoder; recurrent decoder that attends to it (Bahdanau et al. 2015)."""

    dim: int = Field(gt=0, description="width of the hidden states")
    cell: Literal["lstm", "gru"] = Field(description="the recurrent cell")
    encoder_layers: int = Field(
        ge=0, description="recurrent layers of the encoder; 0 attends to what the front sees"
    )
    decoder_layers: int = Field(gt=0, description="recurrent layers of the decoder")
    embedding_dim: int = Field(gt=0, description="width of the embeddings")
    embedding_std: float = Field(gt=0, description=EMBEDDING_STD)
    bidirectional: bool = Field(description="encoder reads both ways")
    query: Literal["state", "previous_state"] = Field(
        description="which decoder state asks: the present one, all steps at once (Luong et al. "
        "2015), or the previous one, step by step (Bahdanau et al. 2015)"
    )
    tie: Tie = Field(description=TIE)

    @model_validator(mode="after")
    def _halves_for_two_ways(self) -> Self:
        if self.bidirectional and self.dim % 2:
            raise ValueError(f"each way takes half of dim, which is odd: {self.dim}")
        return self


class Convolutional(
    Model, kind="convolutional", target="attnlab.models.convolutional:Convolutional"
):
    """Convolutional encoder (Gehring et al. 2017); recurrent decoder that attends to it."""

    dim: int = Field(gt=0, description="width of the hidden states")
    encoder_layers: int = Field(
        ge=0, description="convolutions over the sequence; 0 attends to what the front sees"
    )
    kernel: int = Field(gt=0, description="states that a convolution sees at once; an odd number")
    embedding_dim: int = Field(gt=0, description="width of the embeddings")
    embedding_std: float = Field(gt=0, description=EMBEDDING_STD)
    cell: Literal["lstm", "gru"] = Field(description="the recurrent cell of the decoder")
    decoder_layers: int = Field(gt=0, description="recurrent layers of the decoder")
    query: Literal["state", "previous_state"] = Field(
        description="which decoder state asks, as in model=recurrent"
    )
    tie: Tie = Field(description=TIE)

    @model_validator(mode="after")
    def _a_middle(self) -> Self:
        has_middle(self.kernel)
        return self


class Transformer(Model, kind="transformer", target="attnlab.models.transformer:Transformer"):
    """Transformer encoder, and decoder where the task generates (Vaswani et al. 2017)."""

    dim: int = Field(gt=0, description="width of the hidden states")
    encoder_layers: int = Field(ge=0, description="layers of the encoder")
    decoder_layers: int = Field(gt=0, description="layers of the decoder")
    feedforward_dim: int = Field(gt=0, description="hidden width of the feed-forward blocks")
    feedforward_dropout: float = Field(ge=0, lt=1, description="dropout within these")
    embedding_positions: Literal["sinusoidal", "learned", "none"] = Field(
        description="positions added to the embeddings; a mechanism may bring its own as well"
    )
    max_length: int = Field(gt=0, description="longest input or output the positions allow")
    tie: Tie = Field(description=TIE)
    self_attention: AttentionConfig | None = Field(
        description="the mechanism within encoder and decoder; null is that of `attention`. "
        "Another one: +attention@model.self_attention=multihead"
    )

    packed: bool = Field(
        description="the encoder reads several short inputs of a batch in one row, each for "
        "itself, instead of padding; where a map of it is asked for, it does not"
    )
    kernel: PositiveInt | None = Field(
        description="steps that a convolution sees at once, in each layer of the encoder after its "
        "self-attention (Conformer, Gulati et al. 2020); an odd number. null has none"
    )
    norm: Literal["before", "after"] = Field(
        description="where states are normalised: before each block, which trains more easily "
        "(Xiong et al. 2020), or after its sum with what went in (Vaswani et al. 2017)"
    )

    @model_validator(mode="after")
    def _a_middle(self) -> Self:
        if self.kernel is not None:
            has_middle(self.kernel)
            if self.norm == "after":
                raise ValueError("a Conformer (kernel) is normalised before: try model.norm=before")
        return self


class HuggingFace(Model, kind="hf", target="attnlab.models.hf:HuggingFace"):
    """A pretrained encoder, or encoder and decoder, with its own tokenizer and its own attention.

    `attention` is that of the head on top. Needs transformers: attnlab[hf].
    """

    name: str = Field(min_length=1, description="a model's id on the Hugging Face hub, or a folder")
    revision: str | None = Field(description="commit to read, so that the model stays the same")
    weights: Literal["pretrained", "random"] = Field(
        description="the model's own, or, as a control, random ones of the same sizes"
    )
    freeze: Literal["nothing", "embeddings", "everything"] = Field(
        description="what of the pretrained model does not learn"
    )
    lr_factor: float = Field(gt=0, description="its learning rate, as a factor on optimizer.lr")

    def settings(self) -> dict[str, Any]:
        """Here the name says what is built."""
        return super().settings() | {"name": self.name}
