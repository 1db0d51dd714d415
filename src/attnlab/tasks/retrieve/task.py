"""`Retrieve`: which of many texts answers; the others of a batch are the wrong choices."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import Metric

from attnlab.config.evaluation import Combine
from attnlab.data.batch import Batch, Padded, pad
from attnlab.data.inputs import Text
from attnlab.metrics.recommendation import RetrievalRanking, text_keys
from attnlab.models.pooling import Pooling
from attnlab.tasks.choices import ChoiceTask, best_choices
from attnlab.tasks.generate.answer import Units
from attnlab.tasks.task import HeadContext, Prediction, Task

INITIAL_LOG_SCALE = math.log(10.0)  # of cosines; learned, as in CLIP (Radford et al. 2021)

CUTOFFS = (1, 10)  # ranks at which a ranking is evaluated
TEXTS_TOGETHER = 256  # texts that are encoded in one pass


class Retriever(nn.Module):
    """Questions and texts as vectors of one space, each side by an encoder of its own.

    The other texts of a batch are the wrong ones to learn from (Henderson et al. 2017). A text's
    vector depends on nothing else, so those of any collection can be made once and searched.
    """

    def __init__(self, context: HeadContext, embedder: nn.Module) -> None:
        super().__init__()
        builder, attention = context.builder, context.attention
        self.reader = context.reader
        self.pooling = Pooling(builder, attention)
        self.texts = nn.Sequential(embedder, builder.encoder(attention, "texts"))
        self.texts_pooling = Pooling(builder, attention, site="texts.pooling")
        self.log_scale = nn.Parameter(torch.tensor(INITIAL_LOG_SCALE))

    def forward(self, batch: Batch) -> Tensor:
        """Scores of all answers of the batch for each question: batch x 1 x batch.

        Equal answers are one choice: the others like it cannot win.
        """
        return self.compare(self.questions(batch), self.replies(batch.answer), batch.answer)

    def compare(self, questions: Tensor, texts: Tensor, answers: Padded) -> Tensor:
        """The same from vectors of both, each batch x width."""
        twins = same_rows(answers).fill_diagonal_(False)
        return self.scores(questions, texts).masked_fill(twins, -torch.inf)[:, None]

    def scores(self, questions: Tensor, texts: Tensor) -> Tensor:
        """questions x width and texts x width: questions x texts."""
        return self.log_scale.exp() * questions @ texts.T

    def questions(self, batch: Batch) -> Tensor:
        """Questions as vectors of length one: batch x width."""
        reading = self.reader(batch)
        return F.normalize(self.pooling(reading.memory, reading.query_seed)[:, 0], dim=-1)

    def replies(self, texts: Padded) -> Tensor:
        """Texts, end marks included, as vectors of length one: batch x width."""
        memory = self.texts(texts)
        return F.normalize(self.texts_pooling(memory, memory.mean())[:, 0], dim=-1)

    @torch.no_grad()
    def answer(self, batch: Batch) -> Tensor:
        """The best of the answers of the batch: batch x length."""
        return batch.answer.values[self(batch)[:, 0].argmax(-1)]


def same_rows(texts: Padded) -> Tensor:
    """Which texts are equal, unit for unit: batch x batch."""
    return (texts.values[:, None] == texts.values[None]).all(-1)


class Compared(NamedTuple):
    """Scores within a batch, and the vectors that they are made of."""

    scores: Tensor  # batch x 1 x batch
    questions: Tensor  # batch x width
    texts: Tensor  # batch x width


class Retrieve(ChoiceTask):
    """Training tells the right text from the others of its batch (Henderson et al. 2019).

    Evaluation ranks it among all different answers of the split, whose number is the figure
    `candidates`.
    """

    chooses_among_texts = True
    texts_to_choose: Sequence[str] | None = None  # with their vectors, for `predict`
    vectors: Tensor | None = None  # texts x width

    @property
    def units(self) -> Units:
        """The form of the answers."""
        assert isinstance(self.codec.answers, Units)
        return self.codec.answers

    def head(self, context: HeadContext) -> nn.Module:
        embedder = context.builder.embedder(Text(self.units.vocabulary))
        return Retriever(context, embedder)

    def gold(self, batch: Batch) -> Tensor:
        """The number of each question's own answer in the batch: batch x 1."""
        return torch.arange(len(batch), device=batch.index.device)[:, None]

    def run(self, model: nn.Module, batch: Batch) -> Tensor | Compared:
        if model.training:
            return model(batch)
        assert isinstance(model, Retriever)
        questions, texts = model.questions(batch), model.replies(batch.answer)
        return Compared(model.compare(questions, texts, batch.answer), questions, texts)

    def losses(self, scores: Tensor | Compared, batch: Batch) -> tuple[Tensor, Tensor]:
        return super().losses(scores.scores if isinstance(scores, Compared) else scores, batch)

    def combine(self, outputs: Sequence[Any], how: Combine) -> Any:
        """Vectors of several models lie in different spaces."""
        return Task.combine(self, outputs, how)

    def metrics(self) -> list[Metric]:
        return [RetrievalRanking(CUTOFFS)]

    def update_metrics(
        self, metrics: Iterable[Any], batch: Batch, scores: Compared, answers: Tensor
    ) -> None:
        for metric in metrics:
            metric.update(scores.questions, scores.texts, text_keys(*batch.answer))

    @torch.no_grad()
    def choose_among(self, model: nn.Module, texts: Iterable[Sequence[str]]) -> None:
        """Encode the different ones of these texts, once."""
        assert isinstance(model, Retriever)
        different = list({tuple(words): None for words in texts})  # in their order
        device = model.log_scale.device
        encoded = [self.units.spell(words) for words in different]
        vectors = [model.replies(some.to(device)) for some in _padded(encoded)]
        joint = self.units.vocabulary.joint
        self.texts_to_choose = [joint.join(words) for words in different]
        self.vectors = torch.cat(vectors)

    @torch.no_grad()
    def predict(self, model: nn.Module, batch: Batch, most: int) -> list[list[Prediction]]:
        assert isinstance(model, Retriever)
        if self.texts_to_choose is None or self.vectors is None:
            return super().predict(model, batch, most)
        with self.tap(model) as tap:
            scores = model.scores(model.questions(batch), self.vectors)
        maps = tap.weights().float().mean(1)
        return best_choices(scores, maps, most, self.texts_to_choose.__getitem__)


def _padded(encoded: Sequence[Tensor]) -> Iterator[Padded]:
    for start in range(0, len(encoded), TEXTS_TOGETHER):
        yield pad(encoded[start : start + TEXTS_TOGETHER])
