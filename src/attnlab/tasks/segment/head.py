"""`Segmenter`: answers with a class for every pixel."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attnlab.config.attention import AttentionConfig
from attnlab.data.batch import Batch
from attnlab.data.inputs import Picture
from attnlab.models.builder import ModelBuilder
from attnlab.models.embedders import Block, ImageEmbedder
from attnlab.models.memory import Reader
from attnlab.models.pooling import Pooling


class Segmenter(nn.Module):
    """From patches back to pixels, with the embedder's finer features beside them.

    (U-Net, Ronneberger et al. 2015.) Each patch also gets the context of attention over all.
    """

    def __init__(
        self,
        reader: Reader,
        builder: ModelBuilder,
        attention: AttentionConfig,
        picture: Picture,
        classes: int,
        gated: bool,
    ) -> None:
        super().__init__()
        self.reader, self.picture = reader, picture
        self.pooling = Pooling(builder, attention)
        embedder = reader.embedder
        assert isinstance(embedder, ImageEmbedder)
        # Features of full size cost most: they are the narrowest.
        width = max(min(embedder.finer, default=builder.dim // 2) // 2, 1)
        self.stem = Block(picture.channels, width, 1)
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
