"""Does the map point to what the answer needs? Erase it, or keep nothing else.

Comprehensiveness and sufficiency of ERASER (DeYoung et al. 2020), as means over several shares of
the units (the area over the perturbation curve), for this map and for orders that know nothing or
something else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from attnlab.explain.agreement import interval_of
from attnlab.explain.subject import Subject
from attnlab.explain.trust.findings import Finding
from attnlab.explain.trust.orders import Decisions, ranks, sizes
from attnlab.metrics.intervals import Interval

Orders = Mapping[str, Tensor]  # by name: batch x queries x keys; the greatest is erased first
Curves = dict[str, list[float]]  # by name: for each fraction the mean over examples
OWN, RANDOM = "attention", "random"
CLEAR = 0.02  # a difference of probability that is worth a word


def erasure(
    subjects: Sequence[Subject],
    orders: Sequence[Orders],
    fractions: Sequence[float],
    at_most: int,
) -> tuple[list[Finding], dict[str, Curves]]:
    """Both figures with their controls, and the curves that they are means of."""
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
    """How far the probability falls when the first units are erased, and when only they are kept.

    scores is decisions x keys; both are decisions x fractions.
    """
    keys = decisions.subject.keys
    place = ranks(scores, keys)
    first = torch.stack([place < sizes(keys, f)[:, None] for f in fractions], 1)
    whole = torch.ones_like(first[:, :1])
    found = decisions.where_kept(torch.cat([whole, ~first, first], 1))
    full, erased, kept = found.split([1, len(fractions), len(fractions)], 1)
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
    says = "it points to what the answer needs" if points else "it points to no more than chance"
    return _findings(
        "comprehensiveness",
        values,
        more,
        f"Erasing what this map points to costs the answer {more.mean:+.2f} of probability against "
        f"erasing at random: {says}.",
    )


def _sufficiency(values: Mapping[str, Tensor]) -> list[Finding]:
    more = _beyond(values)
    points = more.high < 0 and more.mean < -CLEAR
    says = (
        "it points to what the answer can do with" if points else "that helps no more than chance"
    )
    return _findings(
        "sufficiency",
        values,
        more,
        f"Keeping only what this map points to costs the answer {more.mean:+.2f} of probability "
        f"against keeping as many at random: {says}.",
    )


def _beyond(values: Mapping[str, Tensor]) -> Interval:
    """This map less the random order, example by example."""
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
