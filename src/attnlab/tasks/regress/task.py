"""`Regress`: the answer is a number, or several."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import Metric

from attnlab.config.evaluation import Combine
from attnlab.data.batch import Batch
from attnlab.data.codec import Codec
from attnlab.data.example import Example
from attnlab.metrics.answers import Regression
from attnlab.models.pooling import Pooling
from attnlab.tasks.linear import LinearRegressor
from attnlab.tasks.regress.answer import Numbers, numbers_of
from attnlab.tasks.task import HeadContext, Task, TaskSettings

SAME_NUMBER = 0.1  # standard deviations of the training answers within which a number is the same


class Regressor(nn.Module):
    """A linear readout of each query's context gives a number in standard deviations."""

    def __init__(self, context: HeadContext, numbers: Numbers) -> None:
        super().__init__()
        self.reader, self.numbers = context.reader, numbers
        self.prediction = context.prediction(len(numbers))
        self.pooling = Pooling(context.builder, context.attention, len(numbers))
        self.output = nn.Linear(context.builder.dim, len(numbers))

    def forward(self, batch: Batch) -> Tensor:
        """Standardised numbers: batch x numbers."""
        reading = self.reader(batch)
        predicted = self.prediction
        memory = predicted(reading, len(self.numbers)) if predicted else reading.memory
        memory = memory._replace(causal=False)  # each number may use all predicted steps
        contexts = self.pooling(memory, reading.query_seed)  # batch x numbers x dim
        return self.output(contexts).diagonal(dim1=1, dim2=2)  # each query's own number

    @torch.no_grad()
    def answer(self, batch: Batch) -> Tensor:
        """Numbers in the units of the data: batch x numbers."""
        return self.numbers.restore(self(batch).float())


class Regress(Task):
    """Scores are standardised numbers, batch x numbers; answers are in the units of the data."""

    def __init__(
        self,
        codec: Codec,
        *,
        loss: str,
        huber_delta: float,
        **shared: Unpack[TaskSettings],
    ) -> None:
        super().__init__(codec, **shared)
        self.kind_of_loss, self.huber_delta = loss, huber_delta
        self.linear: LinearRegressor | None = None

    @property
    def numbers(self) -> Numbers:
        """The form of the answers."""
        assert isinstance(self.codec.answers, Numbers)
        return self.codec.answers

    def head(self, context: HeadContext) -> nn.Module:
        return Regressor(context, self.numbers)

    def losses(self, scores: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        predicted = scores.float()
        gold = self.numbers.standardize(batch.answer.values)
        if self.kind_of_loss == "mse":
            errors = F.mse_loss(predicted, gold, reduction="none")
        elif self.kind_of_loss == "absolute":
            errors = F.l1_loss(predicted, gold, reduction="none")
        else:
            errors = F.huber_loss(predicted, gold, reduction="none", delta=self.huber_delta)
        return errors.sum(1), self.counts(batch)

    def counts(self, batch: Batch) -> Tensor:
        return batch.answer.mask.sum(1)

    def combine(self, outputs: Sequence[Tensor], how: Combine) -> Tensor:
        """The mean, or as a vote the median."""
        numbers = torch.stack(list(outputs))
        return numbers.quantile(0.5, 0) if how == "votes" else numbers.mean(0)

    def metrics(self) -> list[Metric]:
        return [Regression()]

    def update_metrics(
        self, metrics: Iterable[Any], batch: Batch, scores: Tensor, answers: Tensor
    ) -> None:
        for metric in metrics:
            metric.update(answers, batch.answer.values)

    def changed(self, own: Tensor, other: Tensor, batch: Batch) -> Tensor:
        """The share of numbers that move by more than a tenth of the training spread."""
        return self.differs(own[..., None], other[..., None]).float().mean(1)

    def fit(self, examples: Sequence[Example]) -> None:
        """A linear model of the numbers."""
        numbers = [None if each.answer is None else numbers_of(each) for each in examples]
        if any(numbers):
            self.linear = LinearRegressor(self.codec.inputs).fit(examples, numbers)

    def controls(
        self, batch: Batch, scores: Tensor, examples: Sequence[Example]
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """The mean of the training answers every time, and the numbers of a linear model."""
        mean = torch.zeros_like(scores)  # standardised
        controls = {"mean": (mean, self.numbers.restore(mean.float()))}
        if self.linear is not None:
            predicted = torch.tensor(self.linear.predict(examples)).to(mean)
            controls["linear"] = self.numbers.standardize(predicted), predicted
        return controls

    def outcomes(self, model: nn.Module, batch: Batch) -> Tensor:
        """The predicted numbers: batch x numbers x 1."""
        return self.numbers.restore(model(batch).float())[..., None]

    def evidence(self, outcomes: Tensor, decisions: Tensor) -> Tensor:
        """The number itself, standardised."""
        return self.numbers.standardize(outcomes[..., 0])

    def confidence(self, outcomes: Tensor, decisions: Tensor) -> Tensor:
        """1 where the number is predicted again; e^-1 where it is one spread away."""
        return (-self._apart(outcomes[..., 0], decisions)).exp()

    def distance(self, one: Tensor, other: Tensor) -> Tensor:
        """0 for equal numbers; 1 - e^-1 for numbers that are one spread apart."""
        return 1 - (-self._apart(one[..., 0], other[..., 0])).exp()

    def differs(self, one: Tensor, other: Tensor) -> Tensor:
        return self._apart(one[..., 0], other[..., 0]) > SAME_NUMBER

    def _apart(self, one: Tensor, other: Tensor) -> Tensor:
        """The distance of numbers in standard deviations of the training answers."""
        return (self.numbers.standardize(one) - self.numbers.standardize(other)).abs()
