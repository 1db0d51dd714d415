"""Ranked items: hit rate, NDCG and reciprocal rank of the right item, and simple recommenders."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from itertools import pairwise
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import coo_array
from torch import Tensor

from attnlab.metrics.figures import Figure, Values, declare
from attnlab.metrics.pooled import PooledMetric, ratio

CHUNK = 1024  # questions that are compared with all texts at once

Histories = Sequence[Sequence[int]]
Scores = npt.NDArray[np.float64]


class Recommendation(PooledMetric):
    """HR@k and NDCG@k for each k, and MRR over all items; one right item for an example.

    Ranks are among all items, not among sampled negatives, which order systems otherwise
    (Krichene & Rendle 2020). Items to leave out (already bought) come with a score of -inf. Items
    with the same score share their ranks: each figure is its expectation over their orders, so
    that constant scores earn what chance earns, not a perfect rank.
    """

    about = (
        Figure(
            "hr@k",
            "Share of the examples whose right item is among the first k",
            uniform="k / items",
        ),
        Figure("ndcg@k", "Mean of 1 / log2(1 + rank) of the right item within the first k"),
        Figure("mrr", "Mean of 1 / rank of the right item"),
    )

    def __init__(self, cutoffs: Sequence[int]) -> None:
        super().__init__()
        self.cutoffs = tuple(cutoffs)
        names = [f"{name}@{k}" for k in self.cutoffs for name in ("hr", "ndcg")]
        self.figures = (*names, "mrr")

    def update(self, scores: Tensor, answers: Tensor) -> None:
        """Scores are batch x items, answers (the right item's index) are batch."""
        own = scores.gather(-1, answers[:, None])  # batch x 1
        above = (scores > own).sum(-1)  # batch: items surely before
        tied = (scores == own).sum(-1)  # batch: the right item and its ties
        self.keep(self.gains(above, tied, scores.shape[-1]))

    def gains(self, above: Tensor, tied: Tensor, items: int) -> Tensor:
        """What the right item earns, by the items before it and those it shares its ranks with."""
        ranks = torch.arange(1, items + 1, dtype=torch.double, device=above.device)
        gains = []
        for k in self.cutoffs:
            within = ranks <= k
            gains += [within.double(), within / (1 + ranks).log2()]
        gains.append(1 / ranks)
        expected = [expectation(gain, above, tied) for gain in gains]
        return torch.stack([*expected, torch.ones_like(expected[0])], dim=-1)

    def score(self, sums: Values) -> Values:
        return ratio(sums[..., :-1], sums[..., -1:])


declare(Figure("candidates", "Different texts to choose from", None, perfect=""))


class RetrievalRanking(Recommendation):
    """The same figures of each question's own text among all different texts of the split.

    All vectors are kept and compared at the end, so that no figure depends on the batches.
    `candidates` says how many texts there are to choose from.
    """

    def __init__(self, cutoffs: Sequence[int]) -> None:
        super().__init__(cutoffs)
        self.figures = (*self.figures, "candidates")

    def update(  # type: ignore[override]
        self, questions: Tensor, texts: Tensor, keys: Tensor
    ) -> None:
        """Vectors of questions and of their own texts (batch x width each), and what tells texts
        apart: `text_keys`."""
        self.keep(torch.cat([keys[:, None].double(), questions.double(), texts.double()], dim=-1))

    def statistics(self) -> Values:
        """Gains of each question, the number of candidates, and one."""
        table = super().statistics()
        keys, questions, texts = table[:, 0], *np.split(table[:, 1:], 2, axis=1)
        _, first, own = np.unique(keys, return_index=True, return_inverse=True)
        above, tied = np.zeros((2, len(table)), np.int64)
        for start in range(0, len(table), CHUNK):
            part = slice(start, start + CHUNK)
            scores = questions[part] @ texts[first].T  # questions x candidates
            right = np.take_along_axis(scores, own[part, None], axis=1)
            above[part], tied[part] = (scores > right).sum(1), (scores == right).sum(1)
        gains = self.gains(torch.from_numpy(above), torch.from_numpy(tied), len(first)).numpy()
        return np.insert(gains, -1, len(first), axis=1)


def text_keys(values: Tensor, mask: Tensor) -> Tensor:
    """A number for each text (batch x length and its mask), the same for equal texts: batch."""
    rows = zip(values.cpu(), mask.cpu(), strict=True)
    digests = [blake2b(row[real].numpy().tobytes(), digest_size=6).digest() for row, real in rows]
    return torch.tensor([int.from_bytes(digest) for digest in digests], device=values.device)


class SampledRecommendation(Recommendation):
    """The same figures among the right item and so many others that are drawn for each example.

    Kept for comparison with published figures (100 others, He et al. 2017): what is best among a
    sample need not be best among all (Krichene & Rendle 2020). The draws are the same for every
    model that is evaluated on the same examples in the same batches.
    """

    about = (
        Figure("sampled_hr@k", "The hr@k figure among the right item and sampled others"),
        Figure("sampled_ndcg@k", "The ndcg@k figure among the right item and sampled others"),
        Figure("sampled_mrr", "The mrr figure among the right item and sampled others"),
    )

    def __init__(self, cutoff: int, others: int = 100) -> None:
        super().__init__((cutoff,))
        self.figures = tuple(f"sampled_{name}" for name in self.figures)
        self.others = others
        self.draws = torch.Generator().manual_seed(0)

    def update(self, scores: Tensor, answers: Tensor) -> None:
        """Items that are left out, with a score of -inf, are not drawn."""
        keys = torch.rand(scores.shape, generator=self.draws).to(scores.device)
        barred = scores.isneginf().scatter(-1, answers[:, None], True)
        few = min(self.others, scores.shape[-1])
        drawn = keys.masked_fill(barred, -1).topk(few).indices  # batch x others
        drawn_scores = scores.gather(-1, drawn).masked_fill(barred.gather(-1, drawn), -torch.inf)
        own = scores.gather(-1, answers[:, None])  # batch x 1
        above, tied = (drawn_scores > own).sum(-1), (drawn_scores == own).sum(-1) + 1
        self.keep(self.gains(above, tied, few + 1))

    def reset(self) -> None:
        super().reset()
        self.draws.manual_seed(0)


def expectation(gain: Tensor, above: Tensor, tied: Tensor) -> Tensor:
    """The mean gain over the ranks above + 1 ... above + tied; `gain` is by rank, from 1."""
    sums = torch.cat([gain.new_zeros(1), gain.cumsum(0)])
    return (sums[above + tied] - sums[above]) / tied


class ItemControl(Protocol):
    """Scores every item, given what somebody chose so far, oldest first."""

    def scores(self, history: Sequence[int]) -> Scores: ...


class Popularity:
    """What most people chose."""

    def __init__(self, histories: Histories, items: int) -> None:
        self.counts = np.bincount([item for each in histories for item in each], minlength=items)

    def scores(self, history: Sequence[int]) -> Scores:
        return self.counts.astype(np.float64)


class Markov:
    """What most often came right after the last item; ties by popularity."""

    def __init__(self, histories: Histories, items: int) -> None:
        steps = [pair for each in histories for pair in pairwise(each)]
        before, after = np.array(steps, dtype=np.int64).reshape(-1, 2).T
        counted = coo_array((np.ones(len(steps)), (before, after)), shape=(items, items))
        self.after = counted.tocsr()  # adds up what stands in one place
        counts = Popularity(histories, items).counts
        self.ties = counts / (counts.sum() + 1)  # less than one step in all

    def scores(self, history: Sequence[int]) -> Scores:
        return self.after[[history[-1]]].toarray()[0] + self.ties


class ItemNeighbours:
    """Items chosen by the same people as those of the history (Deshpande & Karypis 2004).

    Likeness is the cosine of who chose them; each candidate counts its `nearest` neighbours only.
    `latest` looks at the last so many items of a history, 0 at all of them.
    """

    def __init__(self, histories: Histories, items: int, nearest: int, latest: int = 0) -> None:
        chosen = np.zeros((len(histories), items))
        for row, each in enumerate(histories):
            chosen[row, list(each)] = 1
        together = chosen.T @ chosen
        size = np.sqrt(np.diag(together)).clip(1e-9)
        likeness = together / size[:, None] / size
        np.fill_diagonal(likeness, 0)
        least = np.sort(likeness, 1)[:, -min(nearest, items)][:, None]
        self.likeness = np.where(likeness >= least, likeness, 0)  # candidates x items
        self.latest = latest

    def scores(self, history: Sequence[int]) -> Scores:
        return self.likeness[:, list(history)[-self.latest :]].sum(1)
