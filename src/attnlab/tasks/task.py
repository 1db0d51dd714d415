"""`Task`: what a form of answer means for model, loss, metrics, controls and explanations.

Whoever wants to know something about answers asks the task; nothing else depends on its kind.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypedDict, Unpack

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from attnlab.config.attention import AttentionConfig
from attnlab.config.evaluation import Combine
from attnlab.config.schema import Config
from attnlab.data.batch import Batch, Padded
from attnlab.data.codec import Codec
from attnlab.data.example import Example
from attnlab.data.groups import Groups
from attnlab.data.inputs import Picture
from attnlab.errors import UserError
from attnlab.models import ensemble
from attnlab.models.builder import ModelBuilder
from attnlab.models.encoders import CoAttention, OneSequence
from attnlab.models.memory import Missing, Reader
from attnlab.models.pooling import AttentionPrediction
from attnlab.models.tuning import tune


@dataclass(frozen=True)
class HeadContext:
    """What a head is built from."""

    config: Config
    codec: Codec
    builder: ModelBuilder
    reader: Reader

    @property
    def attention(self) -> AttentionConfig:
        return self.config.attention

    def prediction(self, rows: int) -> AttentionPrediction | None:
        """The layer that predicts the map of so many answer positions, if there is one."""
        config = self.builder.prediction
        return None if config is None else AttentionPrediction(self.builder, config, rows)

    def picture(self) -> Picture:
        """The attended picture, for heads that answer with positions in it."""
        attended = self.codec.inputs[self.codec.attended]
        if not isinstance(attended, Picture):
            kind, name = self.config.task.kind, self.codec.attended
            raise UserError(f"task.kind: '{kind}' needs a picture; '{name}' is a {attended.form}")
        return attended


class Prediction(NamedTuple):
    """One answer to one input."""

    text: str
    score: float | None  # a probability, or the log probability of a text
    map: Tensor  # rows x keys: the mean over heads
    words: Sequence[str] = ()  # what the rows belong to, where the answer is a text
    rows: Groups | None = None  # from the units of a text to its words


class TaskSettings(TypedDict):
    """The settings of every task."""

    map: str


class Task(ABC):
    """A subclass says how its answers are learned, made and evaluated.

    The class attributes of `config.task.Task` (what a task can do) may be set on a subclass that a
    plugin registers.
    """

    def __init__(self, codec: Codec, **shared: Unpack[TaskSettings]) -> None:
        self.codec, self.map = codec, shared["map"]

    # The model

    @abstractmethod
    def head(self, context: HeadContext) -> nn.Module:
        """The module that reads a batch and answers; it has `reader` as a submodule."""

    def encoder(self, builder: ModelBuilder, attention: AttentionConfig) -> nn.Module:
        """The encoder of one input."""
        return builder.encoder(attention)

    def check_inputs(self, names: Sequence[str]) -> None:
        """Raise a `UserError` where the task does not serve several inputs."""
        return

    # Training

    def see_answers(self, answers: Iterable[Tensor]) -> None:
        """Called before training with its encoded answers, empty where nobody knows them."""
        return

    def run(self, model: nn.Module, batch: Batch) -> Any:
        """The model's scores of a batch, as losses and metrics need them."""
        return model(batch)

    @abstractmethod
    def losses(self, scores: Any, batch: Batch) -> tuple[Tensor, Tensor]:
        """Each example's loss, summed over what it predicts, and its count: both batch."""

    def counts(self, batch: Batch) -> Tensor | None:
        """The counts of `losses`, where they are known before a forward pass: where gradients
        accumulate, losses are then divided by those of all their batches."""
        return None

    def loss(self, scores: Any, batch: Batch) -> Tensor:
        """The mean over all that the batch predicts."""
        sums, counts = self.losses(scores, batch)
        return sums.sum() / counts.sum().clamp_min(1)

    # Answers

    def use_decoding(self) -> None:
        """Make answers as the config says from now on; while training they are made greedily."""
        return

    @torch.no_grad()
    def answer(self, model: nn.Module, batch: Batch) -> Tensor:
        """The model's answers to a batch, in the form of `batch.answer`."""
        return model.answer(batch)  # type: ignore[operator]

    def texts(self, answers: Tensor, batch: Batch) -> list[str]:
        """Answers to a batch, one line each."""
        return [self.codec.text(answer) for answer in answers.tolist()]

    def combine(self, outputs: Sequence[Any], how: Combine) -> Any:
        """What an ensemble's forward pass returns, of what its models return; see `ensemble`."""
        kind = type(self).__name__.lower()
        raise UserError(f"task.kind: several models cannot answer '{kind}' as one")

    def tap(self, model: nn.Module) -> ensemble.OpenTap:
        """A tap of the task's map; of an ensemble, of the mean map of its models."""
        return ensemble.tap(model, self.map)

    @torch.no_grad()
    def predict(self, model: nn.Module, batch: Batch, most: int) -> list[list[Prediction]]:
        """For each example up to `most` answers, the best first."""
        with self.tap(model) as tap:
            texts = self.texts(self.answer(model, batch), batch)
        maps = tap.weights().float().mean(1)
        return [[Prediction(text, None, rows)] for text, rows in zip(texts, maps, strict=True)]

    chooses_among_texts = False
    """Whether `predict` chooses among texts, those of training unless others are given."""

    def choose_among(self, model: nn.Module, texts: Iterable[Any]) -> None:
        """Let `predict` choose among these texts."""
        raise NotImplementedError(f"{type(self).__name__} does not choose among texts")

    # Metrics

    @abstractmethod
    def metrics(self) -> list[Metric]:
        """Metrics of answers; the first figure of the first one is the headline."""

    def update_metrics(
        self, metrics: Iterable[Any], batch: Batch, scores: Any, answers: Tensor
    ) -> None:
        """Update metrics with a batch, by default those that compare texts."""
        texts = self.texts(answers, batch)
        gold = batch.references if any(batch.references) else self.texts(batch.answer.values, batch)
        for metric in metrics:
            metric.update(texts, gold)

    def changed(self, own: Tensor, other: Tensor, batch: Batch) -> Tensor:
        """How far answers under another map differ from the model's own, from 0 to 1: batch."""
        pairs = zip(self.texts(own, batch), self.texts(other, batch), strict=True)
        return torch.tensor([float(one != two) for one, two in pairs])

    def graded(self, scores: Any, batch: Batch) -> tuple[Tensor, Tensor] | None:
        """The choices whose probabilities are compared with how often they are right, if any.

        Scores batch x positions x choices, and the right choices batch x positions, negative where
        one does not count.
        """
        return None

    # Controls

    def fit(self, examples: Sequence[Example]) -> None:
        """Learn from the training examples what controls are made of."""
        return

    def controls(
        self, batch: Batch, scores: Any, examples: Sequence[Example]
    ) -> dict[str, tuple[Any, Tensor]]:
        """Scores and answers by name of what is uninformed, simple, or all-knowing.

        `scores` are the model's; `examples` are those of the batch.
        """
        return {}

    # Maps

    def rows(self, scores: Any, batch: Batch) -> Tensor | None:
        """The row of the model's map for each row of gold, where they are in no order.

        batch x rows of the model's map, those of gold first and in its order.
        """
        return None

    def as_gold(self, maps: Tensor, scores: Any, batch: Batch) -> Tensor:
        """Maps (batch x ... x rows x keys) with the rows of gold, in its order."""
        rows = self.rows(scores, batch)
        return maps if rows is None else rows_of(maps, rows[:, : batch.target.row_mask.shape[1]])

    # Explanations, for tasks whose schema says `explains`

    def decide(self, model: nn.Module, batch: Batch) -> Padded:
        """The decisions that the model's answers consist of, and which are real: batch x n."""
        answer = self.answer(model, batch)
        return Padded(answer, torch.ones_like(answer, dtype=torch.bool))

    def decision_rows(self, model: nn.Module, batch: Batch, rows: Tensor) -> Tensor:
        """Rows of a map (batch x rows x keys), one for each decision."""
        return rows

    def outcomes(self, model: nn.Module, batch: Batch) -> Tensor:
        """What each decision is made from, given those before it: batch x decisions x width."""
        raise self._not_explained()

    def evidence(self, outcomes: Tensor, decisions: Tensor) -> Tensor:
        """The number that explanations attribute to the input: batch x decisions."""
        raise self._not_explained()

    def confidence(self, outcomes: Tensor, decisions: Tensor) -> Tensor:
        """How far outcomes support decisions, from 0 to 1: batch x decisions."""
        raise self._not_explained()

    def distance(self, one: Tensor, other: Tensor) -> Tensor:
        """How far two outcomes are apart, from 0 to 1, with a gradient: batch x decisions."""
        raise self._not_explained()

    def differs(self, one: Tensor, other: Tensor) -> Tensor:
        """Whether two outcomes are different decisions: batch x decisions, bool."""
        raise self._not_explained()

    def _not_explained(self) -> UserError:
        return UserError(f"{type(self).__name__} makes no decision that could be explained")


def rows_of(values: Tensor, rows: Tensor) -> Tensor:
    """Rows of values (batch x ... x rows x width), those of each example by number."""
    shape = *values.shape[:-2], rows.shape[1], values.shape[-1]
    return values.gather(-2, rows.view(len(rows), *(1,) * (values.dim() - 3), -1, 1).expand(shape))


def build_model(config: Config, codec: Codec) -> nn.Module:
    """The model that a config describes, for what the data hold."""
    task: Task = config.task.build(codec)
    builder: ModelBuilder = config.model.build()
    embedders = {name: builder.embedder(each) for name, each in codec.inputs.items()}
    missing, encoder = _missing(config, codec, builder), _encoder(config, codec, builder, task)
    facts = codec.attended, config.task.causal, missing, builder.dim, builder.embedding_width
    reader = Reader(embedders, encoder, *facts)
    return tune(task.head(HeadContext(config, codec, builder, reader)), config.model)


def _encoder(config: Config, codec: Codec, builder: ModelBuilder, task: Task) -> nn.Module:
    """Of the one input, or of all of them at once."""
    names, rounds = list(codec.inputs), config.model.co_attention
    if len(names) == 1:
        if rounds:
            raise UserError(
                f"model.co_attention: {rounds} is between several inputs; dataset "
                f"'{config.dataset.name}' has '{names[0]}' alone; try: model.co_attention=0"
            )
        return task.encoder(builder, config.attention)
    task.check_inputs(names)
    if rounds:
        return CoAttention(builder, config.attention, names, rounds)
    encoder = builder.encoder(config.attention)
    return OneSequence(encoder, len(names), builder.embedding_width)


def _missing(config: Config, codec: Codec, builder: ModelBuilder) -> Missing | None:
    """Vectors in place of missing inputs, where training meets any."""
    dropout, inputs = builder.input_dropout, len(codec.inputs)
    if dropout and inputs == 1:
        raise UserError(
            f"model.input_dropout: {dropout} leaves out one of several inputs; dataset "
            f"'{config.dataset.name}' has '{codec.attended}' alone; try: model.input_dropout=0"
        )
    if not dropout and not config.dataset.may_lack:
        return None
    return Missing(inputs, builder.embedding_width, dropout)
