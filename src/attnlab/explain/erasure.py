"""Does the map point to the units that the answer needs? Erase these, or keep only these.

Comprehensiveness and sufficiency of ERASER (DeYoung et al. 2020), as means over several shares of
the units (the area over the perturbation curve), for this map and for other orders, such as
uninformed ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from attnlab.explain.findings import Finding, interval_of
from attnlab.explain.subject import Subject
from attnlab.metrics.figures import Interval

Orders = Mapping[str, Tensor]  # by name: batch x queries x keys; the greatest is erased first
Curves = dict[str, list[float]]  # by name: for each fraction the mean over examples
OWN, RANDOM = "attention", "random"
CLEAR = 0.02  # the least difference of probability that a verdict counts


@dataclass(frozen=True)
class Decisions:
    """Some decisions of a batch, each beside its example."""

    subject: Subject  # one example for each decision
    query: Tensor  # decisions: number of the decision among its example's
    example: Tensor  # decisions: number of the example in the batch

    @classmethod
    def some(cls, subject: Subject, at_most: int, seed: int = 0) -> Decisions:
        """At most `at_most` decisions of each example, drawn at random."""
        random = torch.Generator().manual_seed(seed)
        noise = torch.rand(subject.decisions.shape, generator=random).to(subject.keys.device)
        rank = noise.masked_fill(~subject.decisions, 2.0).argsort(1).argsort(1)
        example, query = (subject.decisions & (rank < at_most)).nonzero(as_tuple=True)
        return cls(subject.select(example), query, example)

    def rows(self, scores: Tensor) -> Tensor:
        """Each decision's row of an explanation of the batch: decisions x keys."""
        return scores[self.example, self.query]

    def where_kept(self, kept: Tensor) -> Tensor:
        """Probability of each decision: decisions x variants x keys -> decisions x variants."""
        confidence = self.subject.where_kept(kept, Subject.confidence)
        rows = self.query[:, None, None].expand(-1, kept.shape[1], 1)
        return confidence.gather(2, rows)[..., 0]

    def means(self, values: Tensor, examples: int) -> Tensor:
        """The mean over each example's decisions: decisions -> examples; NaN where it has none."""
        total = values.new_zeros(examples).index_add(0, self.example, values)
        count = values.new_zeros(examples).index_add(0, self.example, torch.ones_like(values))
        return total / count


def erasure(
    subjects: Sequence[Subject],
    orders: Sequence[Orders],
    fractions: Sequence[float],
    at_most: int,
) -> tuple[list[Finding], dict[str, Curves]]:
    """Both figures with their controls, and the curves whose means they are."""
    rows: dict[str, list[Tensor]] = {}
    kept_rows: dict[str, list[Tensor]] = {}
    for subject, named in zip(subjects, orders, strict=True):
        decisions = Decisions.some(subject, at_most)
        for name, scores in named.items():
            erased, kept = falls(decisions, decisions.rows(scores), fractions)
            rows.setdefault(name, []).append(_by_example(decisions, erased, len(subject)))
            kept_rows.setdefault(name, []).append(_by_example(decisions, kept, len(subject)))
    comprehensive = {name: torch.cat(each) for name, each in rows.items()}  # examples x fractions
    sufficient = {name: torch.cat(each) for name, each in kept_rows.items()}
    curves = {
        "comprehensiveness": _curves(comprehensive),
        "sufficiency": _curves(sufficient),
    }
    return [*_comprehensiveness(comprehensive), *_sufficiency(sufficient)], curves


def falls(
    decisions: Decisions, scores: Tensor, fractions: Sequence[float]
) -> tuple[Tensor, Tensor]:
    """The fall of the probability when the first units are erased, and when only they are kept.

    scores is decisions x keys; both are decisions x fractions.
    """
    keys = decisions.subject.keys
    rank = ranks(scores, keys)
    first = torch.stack([rank < sizes(keys, f)[:, None] for f in fractions], 1)
    whole = torch.ones_like(first[:, :1])
    confidence = decisions.where_kept(torch.cat([whole, ~first, first], 1))
    full, erased, kept = confidence.split([1, len(fractions), len(fractions)], 1)
    return full - erased, full - kept


def _by_example(decisions: Decisions, values: Tensor, examples: int) -> Tensor:
    """decisions x fractions -> examples x fractions."""
    columns = [decisions.means(column, examples) for column in values.unbind(1)]
    return torch.stack(columns, 1).cpu()


def _curves(values: Mapping[str, Tensor]) -> Curves:
    return {name: each.nanmean(0).tolist() for name, each in values.items()}


def _comprehensiveness(values: Mapping[str, Tensor]) -> list[Finding]:
    more = _beyond(values)
    points = more.low > 0 and more.mean > CLEAR
    says = "it points to what the answer needs" if points else "no more than chance would"
    return _findings(
        "comprehensiveness",
        values,
        more,
        f"Erasing the units that this map points to costs the answer {more.mean:+.2f} of "
        f"probability against erasing at random: {says}.",
    )


def _sufficiency(values: Mapping[str, Tensor]) -> list[Finding]:
    more = _beyond(values)
    points = more.high < 0 and more.mean < -CLEAR
    says = "they are enough for the answer" if points else "they help no more than chance would"
    return _findings(
        "sufficiency",
        values,
        more,
        f"Keeping only the units that this map points to costs the answer {more.mean:+.2f} of "
        f"probability against keeping as many at random: {says}.",
    )


def _beyond(values: Mapping[str, Tensor]) -> Interval:
    """This map less the random order, by example."""
    return interval_of((values[OWN] - values[RANDOM]).mean(1).tolist())


def _findings(
    test: str, values: Mapping[str, Tensor], more: Interval, verdict: str
) -> list[Finding]:
    areas = {name: interval_of(each.mean(1).tolist()) for name, each in values.items()}
    known = {name: each.mean for name, each in areas.items() if name != OWN}
    return [
        Finding(test, "area beyond random", more, verdict),
        Finding(test, "area", areas[OWN], known=known),
    ]


def ranks(scores: Tensor, keys: Tensor, seed: int = 0) -> Tensor:
    """The rank of each unit from the greatest score down, both decisions x keys.

    Ties are broken at random, so that a constant map erases at random; padding comes last.
    """
    random = torch.Generator().manual_seed(seed)
    shuffled = torch.rand(scores.shape, generator=random).to(scores.device).argsort(1)
    hidden = scores.double().masked_fill(~keys, -torch.inf).gather(1, shuffled)
    order = shuffled.gather(1, hidden.argsort(dim=1, descending=True, stable=True))
    return order.argsort(1)


def sizes(keys: Tensor, fraction: float) -> Tensor:
    """The number of units in a share of each row's, at least one: decisions."""
    return torch.ceil(keys.sum(1) * fraction - 1e-6).long().clamp_min(1)
