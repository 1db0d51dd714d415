"""The slots of a model: the model itself, and how it embeds each form of input.

The kinds stand in `attnlab.models`; `conf/model/*.yaml` holds the default values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from pydantic import Field

from attnlab.config import combinations
from attnlab.config.attention import AttentionConfig
from attnlab.config.section import Variant
from attnlab.config.task import Extent, Task
from attnlab.errors import Mistake


class Image(Variant, slot="image"):
    """How pictures become patches that can be attended to."""

    @property
    def stride(self) -> int:
        """Pixels of a patch, each way."""
        raise NotImplementedError


class Audio(Variant, slot="audio"):
    """How waveforms become steps that can be attended to."""

    @property
    def stride(self) -> int:
        """Frames of a step."""
        raise NotImplementedError


class SentenceVector(Variant, slot="sentence_vector"):
    """How the words of a sentence become one state that can be attended to."""


class Tuning(Variant, slot="tuning"):
    """Which parameters training changes: all, or few of those that were trained before.

    The head, which is what the task adds to embedders, encoder and decoder, is always trained.
    """

    merges: ClassVar[bool] = True
    """Whether a trained model has the layers of an untuned one."""


class Model(Variant, slot="model"):
    """An embedder for each form of input, an encoder, and what the task needs to answer."""

    has_recipe: ClassVar[bool] = False
    """Whether `recipe` gives settings for texts."""

    @property
    def meets_in_attention(self) -> bool:
        """Whether self-attention is the only way from one position of a text to another."""
        return False

    name: str = Field(description="shown in run names and tables")
    init: str | None = Field(
        description="folder of a trained run whose parameters this one starts with, those of the "
        "same name; words are matched as words. Of a run of another task the head stays new. null "
        "starts with random ones, or with those of a pretrained model"
    )
    tuning: Tuning = Field(description="which parameters are trained")
    lr_factor: float = Field(
        gt=0,
        description="the learning rate of embedders, encoder and decoder, as a factor on that of "
        "the head, optimizer.lr",
    )
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
    image: Image = Field(description="the embedder of inputs that are pictures")
    audio: Audio = Field(description="the embedder of inputs that are sounds")
    sentences: SentenceVector = Field(
        description="how words become one state, in inputs whose sentences are attended to"
    )
    prediction: AttentionConfig | None = Field(
        description="a layer between encoder and decoder that predicts where each part of the "
        "answer looks; what follows sees the input through it alone. null is none"
    )

    @property
    def word_width(self) -> tuple[str, int] | None:
        """The key of the width of words' vectors, and that width; None where no key has it."""
        return None

    @classmethod
    def recipe(
        cls, data: Extent, usual: Mapping[str, Any], model: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Settings by key for texts of this extent, where a user names this model.

        Args:
            data: how much there is.
            usual: the recipe of the task, for a model that learns from these texts alone.
            model: the plain values of `model`.
        """
        return {}

    def settings(self) -> dict[str, Any]:
        """Those of the builder: what a model starts with and what is trained comes after it."""
        settings = super().settings()
        others = ("init", "tuning", "lr_factor")
        return {key: settings[key] for key in settings if key not in others}

    def roles(self, config: Any) -> Mapping[str, set[str]]:
        """The roles that each mechanism plays, by its key; see `combinations.usable_for`.

        Args:
            config: the whole `Config`, whose task may add to what the model does.
        """
        task = config.task
        return {"attention": {"causal"} if task.causal else set(task.attention_roles)}

    def mistakes(self, config: Any) -> Iterator[Mistake]:
        for where, roles in self.roles(config).items():
            mechanism = config
            for key in where.split("."):
                mechanism = getattr(mechanism, key)
            yield from combinations.usable_for(mechanism, where, roles)
        yield from self._prediction_mistakes(config)
        if self.co_attention and combinations.is_recurrent(config.attention):
            # Every state of an input is a query at once, in no order that a mechanism could go by.
            problem = f"'{config.attention.name}' goes query by query: not in co-attention"
            yield Mistake("attention", problem, "try: model.co_attention=0")
        if self.co_attention and config.task.causal:
            problem = "other inputs would attend to later units and return them to earlier ones"
            hint = "try: model.co_attention=0"
            yield Mistake("model.co_attention", problem, hint)

    def _prediction_mistakes(self, config: Any) -> Iterator[Mistake]:
        if self.prediction is None:
            return
        if not config.task.predicts_attention:
            allowed = [kind for kind, each in Task.kinds().items() if each.predicts_attention]
            problem = f"task '{config.task.kind}' answers from the input's own states"
            yield Mistake("model.prediction", problem, f"allowed with: {', '.join(allowed)}")
