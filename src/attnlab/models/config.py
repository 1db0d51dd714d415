"""The kinds of models. `conf/model/*.yaml` holds the default values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from attnlab.config import combinations
from attnlab.config.attention import AttentionConfig
from attnlab.config.model import Model, Tuning
from attnlab.config.schema import Config
from attnlab.config.task import Extent
from attnlab.errors import Mistake

EMBEDDING_STD = (
    "spread of the embeddings at the start: wide, and units are soon told apart; narrow, and words "
    "that training seldom sees say little. Tied ones start like the weights of the output layer"
)
Tie = Literal["none", "output", "all"]
TUNING = "attnlab.models.tuning"
SEES_THE_FUTURE = "states would contain the units that they have to predict"


def has_middle(kernel: int) -> None:
    """Raise a `ValueError` for a kernel of even width."""
    if kernel % 2 == 0:
        raise ValueError(f"a kernel of {kernel} has no middle; use an odd number")


class FromScratch(Model):
    """What models have in common that are not pretrained."""

    dim: int = Field(gt=0, description="width of the hidden states")
    encoder_layers: int = Field(
        ge=0, description="layers of the encoder; 0 attends to the embeddings themselves"
    )
    decoder_layers: int = Field(gt=0, description="layers of the decoder")
    tie: Tie = Field(
        description="embeddings that are one matrix: none; the decoder's and its output layer's "
        "(Press & Wolf 2017); all, the encoder's too, which needs one vocabulary for all texts; of "
        "a ranker, items as they are read and as they are ranked"
    )

    @property
    def word_width(self) -> tuple[str, int] | None:
        return "model.dim", self.dim

    def mistakes(self, config: Config) -> Iterator[Mistake]:
        yield from super().mistakes(config)
        dataset = config.dataset
        items = dataset.answer_form == "item"  # inputs and answers are the same items
        if self.tie == "all" and not dataset.one_vocabulary and not items:
            problem = f"'all' needs one vocabulary for all texts; '{dataset.name}' has several"
            hint = "did you mean 'output'? or: dataset.tokenizer.joint=true"
            yield Mistake("model.tie", problem, hint)


class RecurrentDecoder(FromScratch):
    """What models have in common whose decoder is recurrent."""

    cell: Literal["lstm", "gru"] = Field(description="the recurrent cell")
    embedding_dim: int = Field(gt=0, description="width of the embeddings")
    embedding_std: float = Field(gt=0, description=EMBEDDING_STD)
    query: Literal["state", "previous_state"] = Field(
        description="which decoder state is the query: the present one, all steps at once (Luong "
        "et al. 2015), or the previous one, step by step (Bahdanau et al. 2015)"
    )

    @property
    def word_width(self) -> tuple[str, int] | None:
        if not self.encoder_layers:
            return super().word_width
        return "model.embedding_dim", self.embedding_dim

    def mistakes(self, config: Config) -> Iterator[Mistake]:
        yield from super().mistakes(config)
        if self.tie == "all" and not self.encoder_layers and self.embedding_dim != self.dim:
            problem = "'all' needs one width; without an encoder inputs have that of "
            problem += f"model.dim={self.dim}"
            yield Mistake("model.tie", problem, f"try: model.embedding_dim={self.dim}")


class Recurrent(RecurrentDecoder, kind="recurrent", target="attnlab.models.recurrent:Recurrent"):
    """Recurrent encoder; recurrent decoder that attends to it (Bahdanau et al. 2015)."""

    bidirectional: bool = Field(description="encoder reads both ways")

    @model_validator(mode="after")
    def _halves_for_two_ways(self) -> Self:
        if self.bidirectional and self.dim % 2:
            raise ValueError(f"each way takes half of dim, which is odd: {self.dim}")
        return self

    def mistakes(self, config: Config) -> Iterator[Mistake]:
        yield from super().mistakes(config)
        if config.task.causal and self.encoder_layers and self.bidirectional:
            hint = "try: model.bidirectional=false"
            yield Mistake("model.bidirectional", SEES_THE_FUTURE, hint)


class Convolutional(
    RecurrentDecoder, kind="convolutional", target="attnlab.models.encoders:Convolutional"
):
    """Convolutional encoder (Gehring et al. 2017); recurrent decoder that attends to it."""

    kernel: int = Field(gt=0, description="states that a convolution sees at once; an odd number")

    @model_validator(mode="after")
    def _a_middle(self) -> Self:
        has_middle(self.kernel)
        return self

    def mistakes(self, config: Config) -> Iterator[Mistake]:
        yield from super().mistakes(config)
        if config.task.causal and self.encoder_layers:
            yield Mistake("model.encoder_layers", SEES_THE_FUTURE, "did you mean model=recurrent?")


class Transformer(FromScratch, kind="transformer", target="attnlab.models.transformer:Transformer"):
    """Transformer encoder, and decoder where the task generates (Vaswani et al. 2017)."""

    feedforward_dim: int = Field(gt=0, description="hidden width of the feed-forward blocks")
    feedforward_dropout: float = Field(ge=0, lt=1, description="dropout within these")
    embedding_positions: Literal["sinusoidal", "learned", "none"] = Field(
        description="positions added to the embeddings; a mechanism may bring its own as well"
    )
    max_length: int = Field(gt=0, description="longest input or output the positions allow")
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
    checkpoint_activations: bool = Field(
        description="training keeps of each layer its input alone and computes the rest once more "
        "on the way back: the same results, in less memory and about a third more time"
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

    @property
    def meets_in_attention(self) -> bool:
        return self.kernel is None

    def roles(self, config: Config) -> Mapping[str, set[str]]:
        generates = config.task.decodes or config.task.causal
        own = ({"self"} if self.encoder_layers else set()) | ({"causal"} if generates else set())
        own = own or {"self"}
        if self.self_attention is None:
            return {"attention": own}
        return {"model.self_attention": own, "attention": {"cross"}}

    def mistakes(self, config: Config) -> Iterator[Mistake]:
        yield from super().mistakes(config)
        if self.packed:
            own = self.self_attention
            where = "attention" if own is None else "model.self_attention"
            yield from combinations.packable(own or config.attention, where)
        if self.kernel is not None and config.task.causal:
            # A convolution of the encoder's steps sees what stands on both sides of each.
            hint = "try: model.kernel=null"
            yield Mistake("model.kernel", SEES_THE_FUTURE, hint)
        if self.kernel is not None and self.packed:
            problem = "would join the examples that stand in one row"
            yield Mistake("model.kernel", problem, "with model.packed=true try: model.kernel=null")


OWN_TO_BACKBONES = {
    "score": "scaled_dot",
    "normalizer": "softmax",
    "structure": "global",
    "position": "none",
    "heads": "multi",
}


class HuggingFace(Model, kind="hf", target="attnlab.models.hf:HuggingFace"):
    """A pretrained encoder, or encoder and decoder, with its own tokenizer and its own attention.

    `attention` is that of the head on top. Needs transformers: attnlab[hf].
    """

    has_recipe = True

    name: str = Field(min_length=1, description="a model's id on the Hugging Face hub, or a folder")
    revision: str | None = Field(description="commit to read, so that the model stays the same")
    weights: Literal["pretrained", "random"] = Field(
        description="the model's own, or, as a control, random ones of the same sizes"
    )

    @classmethod
    def recipe(
        cls, data: Extent, usual: Mapping[str, Any], model: Mapping[str, Any]
    ) -> dict[str, Any]:
        """A few epochs, in which what was trained before learns slowly and what is new does not."""
        size = 16 if data.examples < 1000 else 32
        an_epoch = data.steps(size)
        epochs = min(20, max(3, round(600 / an_epoch)))
        slow = model["tuning"]["kind"] in ("full", "layers")
        kept = ("trainer.checkpoints.monitor", "trainer.checkpoints.mode")
        return {key: usual[key] for key in kept} | {
            "model.lr_factor": 0.05 if slow else 1.0,
            "trainer.batches.size": size,
            "trainer.max_epochs": epochs,
            "trainer.optimizer.lr": 1e-3,
            "trainer.schedule.warmup_steps": epochs * an_epoch // 10,
        }

    def settings(self) -> dict[str, Any]:
        """Here the name says what is built."""
        return super().settings() | {"name": self.name}

    def mistakes(self, config: Config) -> Iterator[Mistake]:
        """A pretrained model attends as it was trained to: only the head's mechanism is free."""
        yield from super().mistakes(config)
        if config.task.causal:
            problem = "its states see later units as well as earlier ones"
            hint = "try: model=transformer"
            yield Mistake("model.kind", problem, hint)
        if not config.task.decodes:
            return
        attention = config.attention
        if any(getattr(attention, part).kind != kind for part, kind in OWN_TO_BACKBONES.items()):
            problem = f"'{attention.name}' does not take the place of the backbone's own"
            yield Mistake("attention", problem, "try: attention=multihead")
        if self.prediction is not None:
            problem = "the backbone's decoder attends to its encoder, not to a prediction"
            yield Mistake("model.prediction", problem, "try: model.prediction=null")


class Full(Tuning, kind="full", target=f"{TUNING}:Full"):
    """All of them."""


class Layers(Tuning, kind="layers", target=f"{TUNING}:Layers"):
    """All but those of the embedders."""


class Head(Tuning, kind="head", target=f"{TUNING}:Head"):
    """The head alone."""


class BitFit(Tuning, kind="bitfit", target=f"{TUNING}:BitFit"):
    """Biases, and the head (Ben Zaken et al. 2022)."""


class Adapters(Tuning, kind="adapters", target=f"{TUNING}:Adapters"):
    """The head, and two narrow layers behind each feed-forward block (Houlsby et al. 2019; in this
    place, Pfeiffer et al. 2021)."""

    merges = False

    width: int = Field(gt=0, description="width between the two layers")


class Prefix(Tuning, kind="prefix", target=f"{TUNING}:Prefixes"):
    """The head, and keys and values that attentions of encoder and decoder have beside those of the
    input (Li & Liang 2021), behind a gate of their own (Zhang et al. 2024)."""

    merges = False

    length: int = Field(gt=0, description="keys and values beside those of the input")


class Prompt(Tuning, kind="prompt", target=f"{TUNING}:Prompts"):
    """The head, and vectors that the encoder reads before the input (Lester et al. 2021)."""

    merges = False

    length: int = Field(gt=0, description="vectors before the input")


class Lora(Tuning, kind="lora", target=f"{TUNING}:Lora"):
    """The head, and beside each linear layer of attention and feed-forward the product of two
    narrow matrices, which is added to its weights in the end (Hu et al. 2022).

    On a pretrained model by the library peft: attnlab[hf].
    """

    rank: int = Field(gt=0, description="width between the two matrices")
    alpha: float = Field(gt=0, description="their product is multiplied by alpha / rank")
    dropout: float = Field(ge=0, lt=1, description="share of what the first one reads dropped")
