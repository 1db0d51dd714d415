"""`Retrieve`: which of many texts answers; the others of a batch are the wrong choices."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from attnlab.attention.probes import Tap
from attnlab.data.batch import Batch, Padded, pad
from attnlab.data.inputs import Text
from attnlab.metrics.recommendation import RetrievalRanking, text_keys
from attnlab.tasks.choices import ChoiceTask, best_choices
from attnlab.tasks.generate.answer import Units
from attnlab.tasks.retrieve.head import Retriever
from attnlab.tasks.task import HeadContext, Prediction

CUTOFFS = (1, 10)  # ranks at which a ranking is evaluated
TEXTS_TOGETHER = 256  # texts that are encoded in one pass


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
        return Retriever(context.reader, embedder, context.builder, context.attention)

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
        with Tap(model, self.map) as tap:
            scores = model.scores(model.questions(batch), self.vectors)
        maps = tap.weights().float().mean(1)
        return best_choices(scores, maps, most, self.texts_to_choose.__getitem__)


def _padded(encoded: Sequence[Tensor]) -> Iterator[Padded]:
    for start in range(0, len(encoded), TEXTS_TOGETHER):
        yield pad(encoded[start : start + TEXTS_TOGETHER])
