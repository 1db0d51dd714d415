"""`MaskedLanguageModel`: the answer is what stands at masked positions of one text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Unpack

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from attnlab.config.evaluation import Combine
from attnlab.data.batch import Batch, Padded
from attnlab.data.codec import Codec
from attnlab.data.example import Example
from attnlab.data.vocabulary import MASKS, SPECIAL, UNKNOWN
from attnlab.metrics.answers import TokenAccuracy
from attnlab.metrics.text import Perplexity
from attnlab.models.pooling import Pooling
from attnlab.models.units import Scores, UnitScores
from attnlab.tasks.choices import UnitSettings, choice_loss
from attnlab.tasks.language_model.task import UnitTask
from attnlab.tasks.task import HeadContext, Task

MASKED, REPLACED = 0.8, 0.9  # shares of the predicted units that are masked, and that or replaced


class MaskedScores(NamedTuple):
    """Scores of what stands at the masked positions of a batch, example by example."""

    scores: Scores  # masked positions x vocabulary
    masked: Tensor  # batch x length


class Cloze(nn.Module):
    """Scores the units at masked positions from their states, and from what those attend to.

    No position attends to a masked one.
    """

    def __init__(self, context: HeadContext, units: int) -> None:
        super().__init__()
        builder = context.builder
        self.reader = context.reader
        self.pooling = Pooling(builder, context.attention)
        width = builder.dim + self.pooling.attention.output_dim
        self.hidden = nn.Sequential(
            nn.Linear(width, builder.dim), nn.GELU(), nn.LayerNorm(builder.dim)
        )
        self.output = UnitScores(builder.dim, units)

    def forward(self, batch: Batch, masked: Tensor) -> Scores:
        """Masked positions x vocabulary; masked is batch x length."""
        memory = self.reader(batch).memory
        context = self.pooling.at_every_position(memory._replace(mask=memory.mask & ~masked))
        states = torch.cat([memory.values, context], -1)[masked]  # masked positions x width
        return self.output(self.hidden(states))


class MaskedLanguageModel(UnitTask):
    """A choice of a unit at each masked position; what is masked is drawn anew at each step.

    In validation each batch has the same masks every time.
    """

    def __init__(self, codec: Codec, *, mask_share: float, **shared: Unpack[UnitSettings]) -> None:
        super().__init__(codec, **shared)
        self.mask_share = mask_share

    def head(self, context: HeadContext) -> nn.Module:
        return self.limited(Cloze(context, len(self.units.vocabulary)))

    # Training

    def run(self, model: nn.Module, batch: Batch) -> MaskedScores:
        shown, masked = self.masked(batch, model.training)
        return MaskedScores(model(shown, masked), masked)

    def masked(self, batch: Batch, training: bool) -> tuple[Batch, Tensor]:
        """The batch as the model reads it, and what it has to predict: batch x length."""
        units, mask = batch.inputs[self.codec.attended]
        vocabulary = self.units.vocabulary.units
        random = None
        if not training:
            random = torch.Generator(units.device).manual_seed(int(batch.index.sum()))
        draws = torch.rand(units.shape, device=units.device, generator=random) / self.mask_share
        known = (units >= len(SPECIAL)) & (units < len(vocabulary))  # no marks
        masked = mask & known & (draws < 1)
        others = torch.randint(
            len(SPECIAL), len(vocabulary), units.shape, device=units.device, generator=random
        )
        symbol = next((vocabulary.index(each) for each in MASKS if each in vocabulary), UNKNOWN)
        shown = units.masked_fill(masked & (draws < MASKED), symbol)
        shown = torch.where(masked & (draws >= MASKED) & (draws < REPLACED), others, shown)
        inputs = {**batch.inputs, self.codec.attended: Padded(shown, mask)}
        return replace(batch, inputs=inputs), masked

    def losses(self, scores: Any, batch: Batch) -> tuple[Tensor, Tensor]:
        return self._losses(scores, batch, self.label_smoothing)

    def _losses(
        self, scores: MaskedScores, batch: Batch, smoothing: float
    ) -> tuple[Tensor, Tensor]:
        units, masked = batch.inputs[self.codec.attended].values, scores.masked
        losses = choice_loss(scores.scores, units[masked], smoothing)
        sums = losses.new_zeros(len(units)).index_add(0, masked.nonzero()[:, 0], losses)
        return sums, masked.sum(1)

    def counts(self, batch: Batch) -> None:
        """Masks are drawn in the forward pass."""
        return

    # Answers

    @torch.no_grad()
    def answer(self, model: nn.Module, batch: Batch) -> Tensor:
        """The text with what is predicted at masked positions: batch x length."""
        scores, masked = self.run(model, batch)
        return self._filled(batch, masked, scores.argmax(-1))

    def _filled(self, batch: Batch, masked: Tensor, predicted: Tensor) -> Tensor:
        units = batch.inputs[self.codec.attended].values
        return units.masked_scatter(masked, predicted)

    def combine(self, outputs: Sequence[Any], how: Combine) -> Any:
        return Task.combine(self, outputs, how)

    # Metrics

    def metrics(self) -> list[Metric]:
        return [Perplexity(), TokenAccuracy()]

    def update_metrics(
        self, metrics: Iterable[Any], batch: Batch, scores: MaskedScores, answers: Tensor
    ) -> None:
        for metric in metrics:
            if isinstance(metric, Perplexity):
                metric.update(*self._losses(scores, batch, 0.0))
            else:
                metric.update(answers, batch.inputs[self.codec.attended].values, scores.masked)

    def changed(self, own: Tensor, other: Tensor, batch: Batch) -> Tensor:
        """The share of masked units whose prediction is another one."""
        _, masked = self.masked(batch, training=False)
        return ((own != other) & masked).sum(1) / masked.sum(1).clamp_min(1)

    def controls(
        self, batch: Batch, scores: MaskedScores, examples: Sequence[Example]
    ) -> dict[str, tuple[MaskedScores, Tensor]]:
        """The frequencies of the units, whatever stands beside them."""
        if self.unigram is None:
            return {}
        usual = self.unigram.to(scores.masked.device).expand(int(scores.masked.sum()), -1)
        answers = self._filled(batch, scores.masked, usual.argmax(-1))
        return {"unigram": (MaskedScores(usual, scores.masked), answers)}
