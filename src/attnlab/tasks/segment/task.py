"""`Segment`: the answer is a class for each pixel."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import Metric

from attnlab.config.evaluation import Combine
from attnlab.data.batch import Batch
from attnlab.data.codec import Codec
from attnlab.metrics.regions import Segmentation
from attnlab.models.embedders import Block, ImageEmbedder
from attnlab.models.ensemble import combined
from attnlab.models.pooling import Pooling
from attnlab.tasks.segment.answer import Pixels
from attnlab.tasks.task import HeadContext, Task, TaskSettings


class Segmenter(nn.Module):
    """From patches back to pixels, with the embedder's finer features beside them.

    (U-Net, Ronneberger et al. 2015.) Each patch also gets the context of attention over all.
    """

    def __init__(self, context: HeadContext, classes: int, gated: bool) -> None:
        super().__init__()
        builder = context.builder
        self.reader, self.picture = context.reader, context.picture()
        self.pooling = Pooling(builder, context.attention)
        embedder = self.reader.embedder
        assert isinstance(embedder, ImageEmbedder)
        # Features of full size cost most: they are the narrowest.
        width = max(min(embedder.finer, default=builder.dim // 2) // 2, 1)
        self.stem = Block(self.picture.channels, width, 1)
        widths = [2 * builder.dim, *reversed([width, *embedder.finer])]
        self.steps = nn.ModuleList(UpStep(coarse, fine, gated) for coarse, fine in pairwise(widths))
        self.output = nn.Conv2d(widths[-1], classes, 1)

    def forward(self, batch: Batch) -> Tensor:
        """Scores of the classes: batch x classes x height x width."""
        reading = self.reader(batch)
        memory = reading.memory
        context = self.pooling(memory, reading.query_seed)  # batch x 1 x dim
        both = torch.cat([memory.values, context.expand_as(memory.values)], -1)
        assert memory.grid is not None
        states = both.transpose(1, 2).unflatten(-1, memory.grid)  # batch x 2 dim x rows x columns
        pixels, *finer = memory.finer
        for step, fine in zip(self.steps, reversed([self.stem(pixels), *finer]), strict=True):
            states = step(states, fine)
        return self.output(states)[..., : self.picture.height, : self.picture.width]

    @torch.no_grad()
    def answer(self, batch: Batch) -> Tensor:
        """The most likely class of each pixel: batch x height x width."""
        return self(batch).argmax(1)


class UpStep(nn.Module):
    """One scale finer: coarse features, upsampled, beside the fine ones."""

    def __init__(self, coarse: int, fine: int, gated: bool) -> None:
        super().__init__()
        self.project = nn.Conv2d(coarse, fine, 1)
        self.gate = Gate(fine) if gated else None
        self.block = Block(2 * fine, fine, 1)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Both batch x channels x rows x columns; the finer have more of the last two."""
        upsampled = F.interpolate(self.project(coarse), fine.shape[2:], mode="bilinear")
        passed = fine if self.gate is None else fine * self.gate(upsampled, fine)
        return self.block(torch.cat([upsampled, passed], 1))


class Gate(nn.Module):
    """How much of each fine position passes: additive attention (Oktay et al. 2018)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query, self.key = nn.Conv2d(width, width, 1), nn.Conv2d(width, width, 1, bias=False)
        self.score = nn.Conv2d(width, 1, 1)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """From 0 to 1: batch x 1 x rows x columns."""
        return self.score(torch.relu(self.query(coarse) + self.key(fine))).sigmoid()


class Segment(Task):
    """The loss is the cross-entropy of each pixel's class."""

    def __init__(
        self,
        codec: Codec,
        *,
        label_smoothing: float,
        gated: bool,
        **shared: Unpack[TaskSettings],
    ) -> None:
        super().__init__(codec, **shared)
        self.label_smoothing, self.gated = label_smoothing, gated

    @property
    def pixels(self) -> Pixels:
        """The form of the answers."""
        assert isinstance(self.codec.answers, Pixels)
        return self.codec.answers

    def head(self, context: HeadContext) -> nn.Module:
        return Segmenter(context, self.pixels.classes, self.gated)

    def losses(self, scores: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Scores are batch x classes x height x width."""
        gold = batch.answer.values
        smooth = self.label_smoothing
        losses = F.cross_entropy(scores.float(), gold, reduction="none", label_smoothing=smooth)
        return losses.flatten(1).sum(1), self.counts(batch)

    def counts(self, batch: Batch) -> Tensor:
        gold = batch.answer.values  # batch x height x width
        return gold.new_full((len(gold),), gold[0].numel())

    def combine(self, outputs: Sequence[Tensor], how: Combine) -> Tensor:
        return combined(outputs, how, dim=1)

    def metrics(self) -> list[Metric]:
        return [Segmentation(self.pixels.classes)]

    def update_metrics(
        self, metrics: Iterable[Any], batch: Batch, scores: Tensor, answers: Tensor
    ) -> None:
        for metric in metrics:
            metric.update(answers, batch.answer.values)

    def changed(self, own: Tensor, other: Tensor, batch: Batch) -> Tensor:
        """The share of pixels of another class."""
        return (own != other).flatten(1).double().mean(1).cpu()
