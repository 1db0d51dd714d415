"""`Classify`: the answer is a label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Unpack

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from attnlab.attention.probes import Tap
from attnlab.data.batch import Batch
from attnlab.data.codec import Codec
from attnlab.data.example import Example
from attnlab.metrics.labels import Classification
from attnlab.tasks.choices import ChoiceSettings, ChoiceTask, best_choices
from attnlab.tasks.classify.answer import Label
from attnlab.tasks.classify.head import Classifier
from attnlab.tasks.task import HeadContext, Prediction


class OneChoice(ChoiceTask):
    """One choice for each example, whatever it is among; the model is a `Classifier`."""

    @torch.no_grad()
    def predict(self, model: nn.Module, batch: Batch, most: int) -> list[list[Prediction]]:
        with Tap(model, self.map) as tap:
            scores = model.choices(batch)  # type: ignore[operator]
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
        **shared: Unpack[ChoiceSettings],
    ) -> None:
        super().__init__(codec, **shared)
        self.hops = hops
        self.majority: int | None = None

    @property
    def label(self) -> Label:
        """The form of the answers."""
        assert isinstance(self.codec.answers, Label)
        return self.codec.answers

    def head(self, context: HeadContext) -> nn.Module:
        output = nn.Linear(context.builder.dim, len(self.label.labels))
        members = self.label.members if self.label.merges else None
        parts = context.reader, context.prediction(1), context.builder, context.attention
        return Classifier(*parts, output, self.hops, members)

    def metrics(self) -> list[Metric]:
        return [Classification(self.label.labels)]

    def fit(self, examples: Iterable[Example]) -> None:
        """The label that is predicted most often, be it learned as one or as several."""
        merged = self.label.merged
        counts = Counter(merged[int(self.label.encode(example))] for example in examples)
        counts.pop(None, None)  # what is learned and never predicted
        self.majority = max(counts, key=counts.__getitem__, default=None)

    def controls(self, batch: Batch, scores: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """The same label every time."""
        if self.majority is None:
            return {}
        return {"majority": (scores, torch.full_like(batch.answer.values, self.majority))}
