"""`Classify`: the answer is a label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Literal, Unpack

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from attnlab.data.batch import Batch
from attnlab.data.codec import Codec
from attnlab.data.example import Example
from attnlab.data.supervision import Chosen
from attnlab.metrics.answers import Classification
from attnlab.models.memory import Reading
from attnlab.models.pooling import Hops, Pooling
from attnlab.tasks.choice_loss import NOT_COUNTED
from attnlab.tasks.choices import ChoiceSettings, ChoiceTask, best_choices
from attnlab.tasks.classify.answer import Label
from attnlab.tasks.linear import LinearClassifier
from attnlab.tasks.task import HeadContext, Prediction


class Classifier(nn.Module):
    """Scores of choices from the pooled memory."""

    def __init__(
        self,
        context: HeadContext,
        output: nn.Module,
        hops: int = 1,
        members: Mapping[int, Sequence[int]] | None = None,
    ) -> None:
        super().__init__()
        builder, attention = context.builder, context.attention
        self.reader, self.prediction = context.reader, context.prediction(1)
        self.pooling = Pooling(builder, attention) if hops == 1 else Hops(builder, attention, hops)
        self.output, self.members = output, members  # of labels that are merged

    def forward(self, batch: Batch) -> Tensor:
        """Scores of the labels: batch x 1 x labels."""
        return self.output(self.pooled(self.reader(batch)))

    def pooled(self, reading: Reading) -> Tensor:
        """batch x 1 x dim."""
        memory = self.prediction(reading, 1) if self.prediction else reading.memory
        return self.pooling(memory, reading.query_seed)

    def choices(self, batch: Batch) -> Tensor:
        """Scores of what may be the answer: batch x labels, -inf where one may not."""
        scores = self(batch)[:, -1]
        return scores if self.members is None else merged_scores(scores, self.members)

    @torch.no_grad()
    def answer(self, batch: Batch) -> Tensor:
        """The most likely label: batch x 1."""
        return self.choices(batch).argmax(-1, keepdim=True)


def merged_scores(scores: Tensor, members: Mapping[int, Sequence[int]]) -> Tensor:
    """Scores (batch x labels) with the probability of all members at the label they merge into."""
    together = torch.full_like(scores, -torch.inf)
    for label, merged in members.items():
        together[:, label] = scores[:, merged].logsumexp(-1)
    return together


class OneChoice(ChoiceTask):
    """One choice for each example, whatever it is among; the model is a `Classifier`."""

    temperature = 1.0  # that scores are divided by where probabilities are predicted

    @torch.no_grad()
    def predict(self, model: nn.Module, batch: Batch, most: int) -> list[list[Prediction]]:
        with self.tap(model) as tap:
            scores = model.choices(batch) / self.temperature  # type: ignore[operator]
        maps = tap.weights().float().mean(1)
        return best_choices(scores, maps, most, lambda number: self.codec.text([number]))

    def outcomes(self, model: nn.Module, batch: Batch) -> Tensor:
        return model.choices(batch)[:, None]  # type: ignore[operator]

    def decision_rows(self, model: nn.Module, batch: Batch, rows: Tensor) -> Tensor:
        """Several hops that lead to one answer count alike."""
        return rows.mean(1, keepdim=True)


class Classify(OneChoice):
    """The answer is a label; hops and merged labels are matters of the head and the answer."""

    def __init__(
        self,
        codec: Codec,
        *,
        hops: int,
        merge_labels: Mapping[str, str | None] | None,
        class_weights: Literal["none", "balanced"],
        **shared: Unpack[ChoiceSettings],
    ) -> None:
        super().__init__(codec, **shared)
        self.hops = hops
        self.weights: Tensor | None = None  # of each label, in the loss
        if class_weights == "balanced":
            self.weights = torch.tensor(self.label.balanced_weights())
        self.majority: int | None = None
        self.linear: LinearClassifier | None = None

    @property
    def label(self) -> Label:
        """The form of the answers."""
        assert isinstance(self.codec.answers, Label)
        return self.codec.answers

    def head(self, context: HeadContext) -> nn.Module:
        output = nn.Linear(context.builder.dim, len(self.label.labels))
        members = self.label.members if self.label.merges else None
        return Classifier(context, output, self.hops, members)

    def see_answers(self, answers: Iterable[Tensor]) -> None:
        """Balance the labels that training has, where some are withheld, corrected or added."""
        if self.weights is not None:
            counted = Counter(int(answer[0]) for answer in answers if len(answer))
            counts = [counted[number] for number in range(len(self.label.labels))]
            self.weights = torch.tensor(replace(self.label, counts=counts).balanced_weights())

    def losses(self, scores: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        sums, counts = super().losses(scores, batch)
        if self.weights is None:
            return sums, counts
        return sums * self.weights.to(sums)[batch.answer.values[:, 0]], counts

    def metrics(self) -> list[Metric]:
        return [Classification(self.label.labels)]

    def graded(self, scores: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Those of the labels that are predicted."""
        gold = batch.answer.values[:, :1]
        if not self.label.merges:
            return scores[:, -1:], gold
        merged = [NOT_COUNTED if label is None else label for label in self.label.merged]
        scores = merged_scores(scores[:, -1], self.label.members)
        return scores[:, None], torch.tensor(merged, device=gold.device)[gold]

    def fit(self, examples: Sequence[Example]) -> None:
        """The label that is predicted most often, be it learned as one or as several; and a
        linear model of all labels that are predicted."""
        known = [i for i, example in enumerate(examples) if example.answer is not None]
        if len(known) < len(examples):
            examples = Chosen(examples, known)
        merged = self.label.merged
        labels = [merged[int(self.label.encode(example))] for example in examples]
        counts = Counter(labels)
        counts.pop(None, None)  # what is learned and never predicted
        self.majority = max(counts, key=counts.__getitem__, default=None)
        if len(counts) > 1:
            self.linear = LinearClassifier(self.codec.inputs).fit(examples, labels)

    def controls(
        self, batch: Batch, scores: Tensor, examples: Sequence[Example]
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """The same label every time, and that of a linear model."""
        controls = {}
        if self.majority is not None:
            majority = torch.full_like(batch.answer.values, self.majority)
            controls["majority"] = scores, majority
        if self.linear is not None:
            predicted = torch.tensor(self.linear.predict(examples), device=scores.device)
            controls["linear"] = scores, predicted[:, None]
        return controls
