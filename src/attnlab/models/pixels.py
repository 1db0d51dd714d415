"""The head that answers with a class for every pixel."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attnlab.config.attention import AttentionConfig
from attnlab.data.batch import Batch
from attnlab.data.inputs import Picture
from attnlab.models.builder import ModelBuilder
from attnlab.models.heads import Pooling
from attnlab.models.image import Block, ImageEmbedder
from attnlab.models.reader import Reader


class Segmenter(nn.Module):
    """From cells back to pixels, past what the embedder saw on its way.

    (U-Net, Ronneberger et al. 2015.) Each cell also knows what attention found in all of them.
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
        width = max(
            min(embedder.finer, default=builder.dim // 2) // 2, 1
        )  # that of full size costs most
        self.stem = Block(picture.channels, width, 1)
        widths = [2 * builder.dim, *reversed([width, *embedder.finer])]
        self.steps = nn.ModuleList(Finer(coarse, fine, gated) for coarse, fine in pairwise(widths))
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


class Finer(nn.Module):
    """One scale finer: what is known of coarse places, beside what is seen in the fine ones."""

    def __init__(self, coarse: int, fine: int, gated: bool) -> None:
        super().__init__()
        self.known = nn.Conv2d(coarse, fine, 1)
        self.gate = Gate(fine) if gated else None
        self.block = Block(2 * fine, fine, 1)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Both batch x channels x rows x columns; the finer have more of the last two."""
        known = F.interpolate(self.known(coarse), fine.shape[2:], mode="bilinear")
        seen = fine if self.gate is None else fine * self.gate(known, fine)
        return self.block(torch.cat([known, seen], 1))


class Gate(nn.Module):
    """How much of each fine place passes, by what is known of it (Oktay et al. 2018): additive."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.asked, self.seen = nn.Conv2d(width, width, 1), nn.Conv2d(width, width, 1, bias=False)
        self.score = nn.Conv2d(width, 1, 1)

    def forward(self, known: Tensor, fine: Tensor) -> Tensor:
        """From 0 to 1: batch x 1 x rows x columns."""
        return self.score(torch.relu(self.asked(known) + self.seen(fine))).sigmoid()
