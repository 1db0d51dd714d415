"""Answers that are sequences of units. The schema of `task=generate`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, model_validator

from attnlab.config.recipes import until_it_stops_improving
from attnlab.config.section import Variant
from attnlab.config.task import AnswerForm, Eviction, Extent, ManyChoices, Task
from attnlab.errors import Mistake

if TYPE_CHECKING:
    from attnlab.config.schema import Config

FEW_WORDS, SHORT = 4, 40  # words and characters of answers that are written by characters
USUAL_WORDS = 40
CLOSED = 0.005  # share of new words below which a text has none to speak of
DECODING = "attnlab.tasks.generate.decoding"
TextFigure = Literal["bleu", "chrf", "rouge", "word_error", "character_error", "exact_match"]


class Units(AnswerForm, kind="units", target="attnlab.tasks.generate.answer:Units"):
    """A sequence of units: a text, or one tag for each unit of the input."""


class Decoding(Variant, slot="decoding"):
    """Chooses the units of an answer, one after the other. Training validates with `greedy`."""


class Greedy(Decoding, kind="greedy", target=f"{DECODING}:Greedy"):
    """The most likely unit at every step."""


class Sample(Decoding, kind="sample", target=f"{DECODING}:Sample"):
    """Units are sampled, so that answers differ."""

    answers: int = Field(gt=0, description="answers sampled for each input")
    temperature: float = Field(
        gt=0, description="below 1 sharpens the distribution, above flattens"
    )
    top_k: int = Field(ge=0, description="sample among so many of the likeliest units; 0 is all")
    top_p: float = Field(
        gt=0, le=1, description="sample among the fewest units that have this much mass"
    )
    seed: int = Field(ge=0, description="of the samples")


class Beam(Decoding, kind="beam", target=f"{DECODING}:Beam"):
    """Keeps the likeliest prefixes at every step."""

    size: int = Field(gt=0, description="prefixes that are kept")
    answers: int = Field(gt=0, description="answers given for each input, the best first")
    length_penalty: float = Field(
        ge=0, description="scores are divided by ((5 + length) / 6) to this power; 0 favours short"
    )
    coverage_penalty: float = Field(
        ge=0, description="weight of the penalty for keys that the map has not attended to"
    )

    @model_validator(mode="after")
    def _enough_prefixes(self) -> Self:
        if self.answers > self.size:
            raise ValueError(f"{self.answers} answers from {self.size} prefixes; raise size")
        return self


class Generate(Task, ManyChoices, kind="generate", target="attnlab.tasks.generate.task:Generate"):
    """The answer is a sequence of units, produced one after the other."""

    answer_forms = ("units",)
    explains = True
    predicts_attention = True
    decodes = True

    max_length: int = Field(gt=0, description="units generated at most")
    figures: list[TextFigure] | None = Field(
        description="metrics of the answers, the headline first; null chooses by their units, "
        "words or characters"
    )
    ctc: float = Field(
        ge=0,
        le=1,
        description="share of the loss that predicts the units from the encoder's steps alone "
        "(CTC, Graves et al. 2006; jointly, Watanabe et al. 2017); 1 leaves the decoder as it is",
    )
    decoding: Decoding = Field(description="how the units of an answer are chosen")
    eviction: Eviction = Field(
        description="which keys the decoder keeps of its own units; training keeps all"
    )

    @classmethod
    def recipe(cls, data: Extent) -> dict[str, Any]:
        """A recurrent model with attention; its units depend on what answers are made of.

        Short answers of one or two words, such as dates and codes, are written by characters. Texts
        with words that training lacks are written by pieces (BPE), as many as their size allows;
        others by words. The width and the dropout depend on the number of texts.
        """
        if data.form != "text" or not data.longest:
            return {}
        size = 16 if data.examples < 1000 else 32 if data.examples < 20_000 else 64
        by_letters = data.longest <= FEW_WORDS and data.letters <= SHORT
        headline = "val/exact_match" if by_letters else "val/bleu"
        an_epoch = data.steps(size)
        fewer = min(1.0, USUAL_WORDS / max(data.words, 1.0))  # steps of long texts take longer
        until = until_it_stops_improving(an_epoch, round(3000 * fewer), headline)
        steps = until["trainer.max_epochs"] * an_epoch
        settings = until | {
            "task/decoding": "beam",
            "model.dropout": 0.2 if by_letters else 0.3,
            "trainer.batches.size": size,
            "trainer.optimizer.lr": 2e-3,
            "trainer.schedule.warmup_steps": min(100, steps // 10),
            "trainer.callbacks.ema": {"kind": "ema", "decay": min(0.99, round(1 - 10 / steps, 3))},
        }
        if by_letters:
            return settings | {
                "dataset/tokenizer": "characters",
                "dataset.words.split": "spaces",
                "task.figures": ["exact_match", "character_error"],
            }
        settings |= {
            "task.label_smoothing": 0.1,
            "task.max_length": max(64, 2 * data.longest),
            "model.cell": "gru",
            "model.dim": 256,
            "model.embedding_dim": 128,
            "model.tie": "output",
        }
        if data.new_words < CLOSED:
            return settings
        pieces = round(data.examples * data.words / 20)
        return settings | {
            "dataset/tokenizer": "bpe",
            "dataset.tokenizer.joint": True,
            "dataset.tokenizer.size": min(8000, max(500, pieces)),
        }

    def mistakes(self, config: Config) -> Iterator[Mistake]:
        """A search with a coverage penalty needs a map that is made step by step."""
        yield from super().mistakes(config)
        decoding = self.decoding
        if not isinstance(decoding, Beam) or not decoding.coverage_penalty:
            return
        if not self.map.startswith("decoder.cross"):
            problem = f"task.map '{self.map}' is not made step by step"
            hint = "set task.decoding.coverage_penalty=0, or task.map=decoder.cross.-1"
            yield Mistake("task.decoding.coverage_penalty", problem, hint)
