"""`Tagger`: answers with a tag for each word of the input."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from attnlab.config.attention import AttentionConfig
from attnlab.data.batch import Batch, Padded
from attnlab.models.builder import ModelBuilder
from attnlab.models.memory import Reader
from attnlab.tasks.tag.crf import TagChain


class Tagger(nn.Module):
    """Tags each word from its state and its context in the others.

    A word in pieces is tagged at its first one (Devlin et al. 2019).
    """

    def __init__(
        self,
        reader: Reader,
        builder: ModelBuilder,
        attention: AttentionConfig,
        tags: int,
        chain: TagChain | None,
    ) -> None:
        super().__init__()
        self.reader, self.chain = reader, chain
        self.attention = builder.attention(attention, "tagger.self.0")
        self.output = nn.Linear(2 * builder.dim, tags)

    def forward(self, batch: Batch) -> Tensor:
        """Scores of the tags, in a chain given the gold tag before: batch x words x tags."""
        scores = self.emissions(batch)
        if self.chain is None:
            return scores
        mask = self.words(batch).mask
        gold = batch.answer.values[:, : mask.shape[1]]  # without the end mark, if there is one
        unknown = gold.shape != mask.shape
        tags = self.chain.best(scores, mask) if unknown else gold
        return self.chain.given_before(scores, mask, tags)

    def emissions(self, batch: Batch) -> Tensor:
        """Scores of the tags of each word by itself: batch x words x tags."""
        memory = self.reader(batch).memory
        states = memory.values
        context = self.attention(states, states, states, memory.visible())
        both = torch.cat([states, context], -1)  # batch x pieces x 2 dim
        first = self.words(batch).values[..., None].expand(-1, -1, both.shape[-1])
        return self.output(both.gather(1, first))

    def words(self, batch: Batch) -> Padded:
        """Where each word begins, and which words are real: batch x words."""
        if batch.words is not None:
            return batch.words.first_pieces()
        mask = batch.inputs[self.reader.attended].mask
        return Padded(torch.arange(mask.shape[1], device=mask.device).expand_as(mask), mask)

    @torch.no_grad()
    def answer(self, batch: Batch) -> Tensor:
        """The most likely tags, 0 in the padding: batch x words."""
        scores, mask = self.emissions(batch), self.words(batch).mask
        return scores.argmax(-1) * mask if self.chain is None else self.chain.best(scores, mask)
