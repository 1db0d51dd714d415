"""`Tagger`: answers with a tag for each word, alone or as a chain."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from attnlab.data.batch import Batch, Padded
from attnlab.data.vocabulary import SPECIAL
from attnlab.tasks.task import HeadContext

IMPOSSIBLE = -1e4  # added to what must not be chosen


class TagChain(nn.Module):
    """A linear-chain conditional random field over the tags of a text.

    p(tags | text) is proportional to exp of the sum of scores: those of the tags, those of a tag
    behind another, of a first and of a last one. It is the product of p(tag | the tag before,
    text), which `given_before` returns as scores: their cross-entropy with the right tags is the
    negative log-likelihood of the chain, sum over all other chains included.
    """

    def __init__(self, tags: Sequence[str]) -> None:
        super().__init__()
        self.transitions = nn.Parameter(torch.zeros(len(tags), len(tags)))  # before x after
        self.first = nn.Parameter(torch.zeros(len(tags)))
        self.last = nn.Parameter(torch.zeros(len(tags)))
        begins, follows = allowed(tags)
        self.register_buffer("no_begin", IMPOSSIBLE * ~begins, persistent=False)
        self.register_buffer("no_step", IMPOSSIBLE * ~follows, persistent=False)

    no_begin: Tensor  # tags: added to the scores of a first tag when one is chosen
    no_step: Tensor  # tags x tags

    def given_before(self, scores: Tensor, mask: Tensor, tags: Tensor) -> Tensor:
        """Logits of each tag, given the right one before it: batch x length x tags, fp32.

        scores are batch x length x tags; mask and right tags batch x length.
        """
        scores = scores.float()
        ahead = self.ahead(scores, mask)
        begin = self.first.expand(len(scores), 1, -1)
        steps = self.transitions[tags[:, :-1]]  # batch x length - 1 x tags
        return scores + ahead + torch.cat([begin, steps], 1)

    def ahead(self, scores: Tensor, mask: Tensor) -> Tensor:
        """log of the sum over all ways to go on behind each tag: batch x length x tags."""
        steps = self.transitions.exp().T  # after x before
        following = self.last.expand(len(scores), -1)
        sums = [following]
        for step in range(scores.shape[1] - 1, 0, -1):
            whole = scores[:, step] + following
            top = whole.amax(-1, keepdim=True)
            # A sum of products: many times as fast as a logsumexp over pairs of tags.
            summed = ((whole - top).exp() @ steps).clamp_min(1e-37).log() + top
            following = torch.where(mask[:, step, None], summed, following)
            sums.append(following)
        return torch.stack(sums[::-1], 1)

    @torch.no_grad()
    def best(self, scores: Tensor, mask: Tensor) -> Tensor:
        """The most likely chain (Viterbi 1967) of those that may be: batch x length, 0 in padding.

        An inside (I-) tag goes on from a tag of its type, as BIO has it, and marks that are no
        tags are left out. Training is free to see gold that breaks this.
        """
        scores = scores.float()
        steps = self.transitions + self.no_step
        total = scores[:, 0] + self.first + self.no_begin  # batch x tags: of the best way there
        before: list[Tensor] = []
        for step in range(1, scores.shape[1]):
            ways, came_from = (total[:, :, None] + steps).max(1)  # batch x after
            here = mask[:, step, None]
            stays = torch.arange(total.shape[1], device=total.device).expand_as(came_from)
            total = torch.where(here, ways + scores[:, step], total)
            before.append(torch.where(here, came_from, stays))
        tag = (total + self.last).argmax(-1)  # batch
        chain = [tag]
        for came_from in reversed(before):
            tag = came_from.gather(1, tag[:, None])[:, 0]
            chain.append(tag)
        return torch.stack(chain[::-1], 1) * mask


def allowed(tags: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Which tags a text may begin with, and which may follow which (before x after), in BIO."""
    parts = [tag.partition("-") for tag in tags]
    real = torch.arange(len(tags)) >= len(SPECIAL)
    inside = torch.tensor([prefix == "I" for prefix, _, _ in parts])
    goes_on = torch.tensor(
        [[b in ("B", "I") and kind == name for _, _, name in parts] for b, _, kind in parts]
    )
    follows = real & (~inside | goes_on)
    return real & ~inside, follows


class Tagger(nn.Module):
    """Tags each word from its state and its context in the others.

    A word in pieces is tagged at its first one (Devlin et al. 2019).
    """

    def __init__(self, context: HeadContext, tags: int, chain: TagChain | None) -> None:
        super().__init__()
        self.reader, self.chain = context.reader, chain
        self.attention = context.builder.attention(context.attention, "tagger.self.0")
        self.output = nn.Linear(2 * context.builder.dim, tags)

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
        mask = self.words(batch).mask
        if self.chain is None:
            return self(batch).argmax(-1) * mask
        return self.chain.best(self.emissions(batch), mask)
