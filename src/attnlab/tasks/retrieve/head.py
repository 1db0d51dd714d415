"""`Retriever`: answers with one of many texts, the one that fits the question."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnlab.config.attention import AttentionConfig
from attnlab.data.batch import Batch, Padded
from attnlab.models.builder import ModelBuilder
from attnlab.models.memory import Reader
from attnlab.models.pooling import Pooling

INITIAL_LOG_SCALE = math.log(10.0)  # of cosines; learned, as in CLIP (Radford et al. 2021)


class Retriever(nn.Module):
    """Questions and texts as vectors of one space, each side by an encoder of its own.

    The other texts of a batch are the wrong ones to learn from (Henderson et al. 2017). A text's
    vector depends on nothing else, so those of any collection can be made once and searched.
    """

    def __init__(
        self, reader: Reader, embedder: nn.Module, builder: ModelBuilder, attention: AttentionConfig
    ) -> None:
        super().__init__()
        self.reader = reader
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
