"""Links: rules that make them of the weights of a map, and their alignment error rate."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from attnlab.data.target_batch import TargetBatch
from attnlab.metrics.figures import Figure, Values
from attnlab.metrics.pooled import MapMetric, ratio

SAMPLES = 16  # random orders of tied keys, for figures that have no closed form under ties
NOISE = 1e-8  # breaks the ties of a path; gains are of order one

Gains = npt.NDArray[np.float64]
Positions = npt.NDArray[np.int64]
Marks = npt.NDArray[np.bool_]


class LinkRule(ABC):
    """Decides which keys a row is linked to. Tied keys have equal chances, whatever their position.

    Weights, key masks and links are batch x queries x keys.
    """

    @abstractmethod
    def links(self, weights: Tensor, keys: Tensor) -> Tensor:
        """The chance of each link (double): 0 or 1, or a share where keys are tied."""

    @abstractmethod
    def sizes(self, keys: Tensor) -> tuple[Tensor, Tensor]:
        """The fewest and the most links a row can have under this rule, each batch x queries.

        Counted are maps whose rows sum to at most one.
        """

    def samples(self, weights: Tensor, keys: Tensor) -> Iterator[Tensor]:
        """Links (bool) with ties broken at random, several times; once where nothing is tied."""
        chances = self.links(weights, keys)
        tied = (chances > 0) & (chances < 1)
        sure = chances >= 1
        if not tied.any():
            yield sure
            return
        missing = torch.where(tied, chances, 0.0).sum(-1, keepdim=True).round()
        random = np.random.default_rng(0)
        for _ in range(SAMPLES):
            order = torch.from_numpy(random.random(chances.shape)).to(chances.device)
            ranks = order.masked_fill(~tied, torch.inf).argsort(-1).argsort(-1)
            yield sure | (tied & (ranks < missing))

    def best(self, grades: Tensor, keys: Tensor) -> Tensor:
        """The links of the best map: those of the highest grades, as many as the rule allows.

        Grades are integers; a key of grade 0 is wrong, and linked only where a row needs more.
        """
        fewest, most = self.sizes(keys)
        right = ((grades > 0) & keys).sum(-1)
        return _greatest(grades.double(), keys, right.clamp(fewest, most))


class Argmax(LinkRule):
    """The greatest weight of each row, if it is at least `minimum`."""

    def __init__(self, *, minimum: float) -> None:
        self.minimum = minimum

    def links(self, weights: Tensor, keys: Tensor) -> Tensor:
        greatest = weights.masked_fill(~keys, -1.0).amax(-1)  # batch x queries
        return _greatest(weights, keys, (greatest >= self.minimum).long())

    def sizes(self, keys: Tensor) -> tuple[Tensor, Tensor]:
        one = keys.any(-1).long()
        return one if self.minimum <= 0 else torch.zeros_like(one), one


class Above(LinkRule):
    """Weights above `times` the uniform weight, so that long rows are treated like short ones.

    A row that sums to more than one (sigmoid) is scaled to one first.
    """

    def __init__(self, *, times: float) -> None:
        self.times = times

    def links(self, weights: Tensor, keys: Tensor) -> Tensor:
        visible = weights.double() * keys
        shares = visible / visible.sum(-1, keepdim=True).clamp_min(1)
        least = self.times * (1 + 1e-9)  # equal shares are not above themselves
        return (keys & (shares * keys.sum(-1, keepdim=True) > least)).double()

    def sizes(self, keys: Tensor) -> tuple[Tensor, Tensor]:
        count = keys.sum(-1)
        most = (count / self.times).ceil().long() - 1 if self.times else count
        return torch.zeros_like(count), torch.minimum(most.clamp_min(0), count)


class Top(LinkRule):
    """The greatest weights of each row, `share` of its keys (DeYoung et al. 2020); at least one."""

    def __init__(self, *, share: float) -> None:
        self.share = share

    def links(self, weights: Tensor, keys: Tensor) -> Tensor:
        return _greatest(weights, keys, self.sizes(keys)[0])

    def sizes(self, keys: Tensor) -> tuple[Tensor, Tensor]:
        count = keys.sum(-1)
        many = torch.minimum((count * self.share).round().long().clamp_min(1), count)
        return many, many


class Path(LinkRule):
    """One stretch of keys for each row, in the order of the rows, where together most weight is.

    Dynamic programming over all ways to lay the rows out in time, as dynamic time warping has it
    (Sakoe & Chiba 1978; word times of a recogniser in Radford et al. 2023); but keys may belong to
    no row: silence. What is summed up is the weight above `level` times the row's usual one, the
    mean over what it attends to, so that a stretch ends where its weight has fallen to that.
    """

    def __init__(self, *, level: float) -> None:
        self.level = level

    def links(self, weights: Tensor, keys: Tensor) -> Tensor:
        return torch.stack([each.double() for each in self.samples(weights, keys)]).mean(0)

    def sizes(self, keys: Tensor) -> tuple[Tensor, Tensor]:
        count = keys.sum(-1)
        return torch.zeros_like(count), count

    def best(self, grades: Tensor, keys: Tensor) -> Tensor:
        """Gold itself: within reach where it is one stretch a row, in order; else a bound."""
        return ((grades > 0) & keys).double()

    def samples(self, weights: Tensor, keys: Tensor) -> Iterator[Tensor]:
        visible = weights.double() * keys
        total = visible.sum(-1, keepdim=True).clamp_min(1e-30)
        usual = (visible.square().sum(-1, keepdim=True) / total).clamp_min(1e-30)
        forbidden = -2.0 * keys.shape[-1]  # outweighs any stretch
        gains = torch.where(keys, visible / usual - self.level, forbidden).cpu().numpy()
        late = np.stack([_best_layout(each) for each in gains])
        early = np.stack([_best_layout(each[::-1, ::-1])[::-1, ::-1] for each in gains])
        tied = (early != late).any((1, 2))  # batch: several layouts are equally good
        random = np.random.default_rng(0)
        for _ in range(SAMPLES if tied.any() else 1):
            for i in np.flatnonzero(tied):
                late[i] = _best_layout(gains[i] + NOISE * random.random(gains[i].shape))
            yield torch.from_numpy(late.copy()).to(keys.device)


def _greatest(values: Tensor, keys: Tensor, many: Tensor) -> Tensor:
    """The chance of each key to be among the `many` (batch x queries) greatest of its row."""
    hidden = values.masked_fill(~keys, -torch.inf)
    many = torch.minimum(many, keys.sum(-1))[..., None]
    last = hidden.sort(-1, descending=True).values.gather(-1, (many - 1).clamp_min(0))
    above, tied = hidden > last, (hidden == last) & keys
    share = (many - above.sum(-1, keepdim=True)) / tied.sum(-1, keepdim=True).clamp_min(1)
    return torch.where(many > 0, above + tied * share.double(), 0.0)


def _best_layout(gains: Gains) -> Marks:
    """The stretches of greatest gain in all, in order; a row whose gain costs others has none.

    `best[k]` is the gain of the rows so far within the first k keys. A stretch that ends before
    key k starts where what comes before it, less what is summed up to there, is greatest.
    """
    queries, keys = gains.shape
    positions = np.arange(keys + 1)
    best = np.zeros(keys + 1)
    starts, ends = np.zeros((2, queries, keys + 1), np.int64)
    for row in range(queries):
        summed = np.concatenate([[0.0], gains[row].cumsum()])
        start, before = _greatest_so_far(best - summed, positions)
        ends[row], best = _greatest_so_far(before + summed, positions)
        starts[row] = start[ends[row]]
    marks = np.zeros(gains.shape, bool)
    stop = keys
    for row in reversed(range(queries)):
        start, end = starts[row, stop], ends[row, stop]
        marks[row, start:end] = True
        stop = start
    return marks


def _greatest_so_far(values: Gains, positions: Positions) -> tuple[Positions, Gains]:
    """Of each beginning of an array its greatest value, and where that stands last."""
    greatest = np.maximum.accumulate(values)
    return np.maximum.accumulate(np.where(values == greatest, positions, 0)), greatest


class LinkMetric(MapMetric):
    """A figure of expected counts, over the order of tied keys, of the links that a rule makes."""

    def __init__(self, links: LinkRule) -> None:
        super().__init__()
        self.rule = links

    def count(self, weights: Tensor, target: TargetBatch) -> Tensor:
        return self.counted(self.rule.links(weights, target.keys()), target)

    def best(self, target: TargetBatch) -> Tensor:
        return self.counted(self.rule.best(self.grades(target), target.keys()), target)

    @abstractmethod
    def counted(self, chances: Tensor, target: TargetBatch) -> Tensor:
        """Expected counts from the chance of each link: batch x counts."""

    def grades(self, target: TargetBatch) -> Tensor:
        """The higher the better a link; 0 is wrong: batch x queries x keys, long."""
        return target.marks().long()


class AlignmentErrorRate(LinkMetric):
    """AER = 1 - (|A & S| + |A & P|) / (|A| + |S|), counts pooled over the corpus.

    Precision is |A & P| / |A|, recall |A & S| / |S|. Published figures differ by what is counted:
    - S is always taken as a subset of P. Where gold knows no possible links, P = S, and AER is
      1 - F1.
    - Links are between the units of the target. Score words, not pieces: carry the map over with
      `regroup_maps` first; sub-word links make other (mostly better) figures.
    - Queries are one side, keys the other: "en->fr" needs the target built that way round. One
      direction gives other figures than two symmetrised ones.
    - A mean of sentence AERs is another figure than this one.
    """

    about = (
        Figure("aer", "Alignment error rate of the links", False, "of random links", "0"),
        Figure("alignment_precision", "Share of the links that gold accepts, sure or possible"),
        Figure("alignment_recall", "Share of the sure gold links that are found"),
    )

    def grades(self, target: TargetBatch) -> Tensor:
        """Sure links before possible ones."""
        return (target.weights > 0).long() + (target.marks() | (target.weights > 0))

    def counted(self, chances: Tensor, target: TargetBatch) -> Tensor:
        """Expected sizes of the sets that the figures are made of: batch x 4."""
        annotated = target.query_mask[:, :, None] & target.keys()  # batch x queries x keys
        links = chances * annotated
        sure = (target.weights > 0) & annotated
        possible = (target.marks() & annotated) | sure
        sets = (links * sure, links * possible, links, sure.double())
        return torch.stack([each.sum((1, 2)) for each in sets], dim=-1)

    def score(self, sums: Values) -> Values:
        in_sure, in_possible, links, sure = np.moveaxis(sums, -1, 0)
        error = 1 - ratio(in_sure + in_possible, links + sure)
        return np.stack([error, ratio(in_possible, links), ratio(in_sure, sure)], axis=-1)
