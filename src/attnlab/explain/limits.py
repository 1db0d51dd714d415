"""Areas between the least and the greatest that any order of erasure reaches.

Raw areas of two models are not comparable, since their limits differ. Normalised areas are
(Edin et al. 2025, arXiv 2408.08137).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from attnlab.explain.erasure import OWN, RANDOM, Decisions, Orders, ranks, sizes
from attnlab.explain.findings import UNKNOWN, Finding, over_examples
from attnlab.explain.subject import Subject

MAX_UNITS = 128  # longer inputs are left out: the search would take thousands of passes
STEPS = 10  # at most so many erasures: of single units in short inputs, else of groups


class Limits(NamedTuple):
    """The least and the greatest area of the orders tried: decisions each."""

    low: Tensor
    high: Tensor


def normalised(
    subjects: Sequence[Subject], orders: Sequence[Orders], examples: int, beam: int
) -> list[Finding]:
    """Comprehensiveness and sufficiency of this map and of a random order, from 0 to 1."""
    shares: dict[str, list[Tensor]] = {}
    left, too_long = examples, 0
    for subject, named in zip(subjects, orders, strict=True):
        short = subject.keys.sum(1) <= MAX_UNITS
        too_long += int((~short).sum())
        some = short.nonzero()[:left, 0]
        left -= len(some)
        if len(some):
            decisions = Decisions.some(subject.select(some), at_most=1)
            rows = {name: decisions.rows(named[name][some]) for name in (OWN, RANDOM)}
            for name, share in _shares(decisions, rows, beam).items():
                shares.setdefault(name, []).append(share)
    if not shares:
        verdict = f"No input is of at most {MAX_UNITS} units: the limits were not searched."
        return [Finding("between limits", "comprehensiveness", UNKNOWN, verdict, {}, too_long)]
    return _findings(shares, too_long)


def _shares(decisions: Decisions, rows: dict[str, Tensor], beam: int) -> dict[str, Tensor]:
    """The area of each order between the limits, followed down and up: decisions each."""
    areas = {f"{name} down": area(decisions, row) for name, row in rows.items()}
    areas |= {f"{name} up": area(decisions, -row) for name, row in rows.items()}
    low, high = searched(decisions, beam, list(areas.values()))
    spread = torch.where(high > low, high - low, torch.nan)
    return {name: (each - low) / spread for name, each in areas.items()}


def _findings(shares: dict[str, list[Tensor]], too_long: int) -> list[Finding]:
    means = {name: over_examples(each) for name, each in shares.items()}
    undefined = too_long + int(torch.cat(shares[f"{OWN} down"]).isnan().sum())
    down, up = means[f"{OWN} down"], means[f"{OWN} up"]
    by_chance = {RANDOM: means[f"{RANDOM} down"].mean}
    verdict = (
        f"Between the worst order of erasing (0) and the best (1), this map's is at "
        f"{down.mean:.2f}, a random one at {by_chance[RANDOM]:.2f}."
    )
    known = {RANDOM: means[f"{RANDOM} up"].mean}
    return [
        Finding("between limits", "comprehensiveness", down, verdict, by_chance, undefined),
        Finding("between limits", "sufficiency", up, "", known, undefined),
    ]


def area(decisions: Decisions, scores: Tensor) -> Tensor:
    """Mean fall of the probability while units are erased, greatest score first: decisions."""
    keys = decisions.subject.keys
    rank = ranks(scores, keys)
    kept = torch.stack([rank >= size[:, None] for size in _grid(keys)], 1)
    whole = torch.ones_like(kept[:, :1])
    chances = decisions.where_kept(torch.cat([whole, kept], 1))  # decisions x 1 + steps
    return (chances[:, :1] - chances[:, 1:]).mean(1)


def searched(decisions: Decisions, beam: int, known: Sequence[Tensor] = ()) -> Limits:
    """The limits by beam search, or of the areas already known where these are wider.

    Exact if the beam is as wide as the number of orders and units are erased one by one.
    """
    high = _beam(decisions, beam, sign=1.0)
    low = -_beam(decisions, beam, sign=-1.0)
    areas = torch.stack([low, high, *known])
    return Limits(areas.amin(0), areas.amax(0))


def _grid(keys: Tensor) -> list[Tensor]:
    """The number of erased units after each step: a list entry a step, each decisions."""
    steps = min(STEPS, int(keys.sum(1).max()))
    return [sizes(keys, (step + 1) / steps) for step in range(steps)]


def _beam(decisions: Decisions, width: int, sign: float) -> Tensor:
    """sign x the area of the best order of the search: decisions."""
    keys = decisions.subject.keys
    count, length = keys.shape
    full = decisions.where_kept(torch.ones_like(keys)[:, None])  # decisions x 1
    kept = keys[:, None].clone()  # decisions x beam x keys: units left by each order
    total = full.new_zeros(count, 1)
    before = torch.zeros_like(keys[:, 0], dtype=torch.long)
    grid = _grid(keys)
    for size in grid:
        group = (size - before)[:, None, None]  # decisions x 1 x 1
        before = size
        alone = _one_less(decisions, kept)  # decisions x beam x keys
        rank = (sign * alone).masked_fill(~kept, torch.inf).argsort(-1).argsort(-1)
        children: list[Tensor] = []
        for shift in range(min(width, length)):  # groups that begin with the n-th best unit
            here = kept.sum(-1, keepdim=True)  # decisions x beam x 1
            start = torch.minimum(torch.full_like(here, shift), (here - group).clamp_min(0))
            children.append(kept & ~((rank >= start) & (rank < start + group)))
        kept = torch.stack(children, 2).flatten(1, 2)
        total = total.repeat_interleave(len(children), 1)
        total = total + sign * (full - decisions.where_kept(kept))
        kept, total = _best(kept, total, width)
    return total.amax(1) / len(grid)


def _one_less(decisions: Decisions, kept: Tensor) -> Tensor:
    """The probability without one unit more: decisions x beam x keys."""
    eye = torch.eye(kept.shape[-1], dtype=torch.bool, device=kept.device)
    tried = kept[:, :, None] & ~eye  # decisions x beam x keys x keys
    return decisions.where_kept(tried.flatten(1, 2)).unflatten(1, kept.shape[1:])


def _best(kept: Tensor, total: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """The orders with the greatest total; of equal sets of units only one is followed."""
    same = (kept[:, :, None] == kept[:, None]).all(-1)  # decisions x beam x beam
    better = (total[:, None] > total[:, :, None]) | (
        (total[:, None] == total[:, :, None]) & _earlier(total.shape[1], total.device)
    )
    ranked = total.masked_fill((same & better).any(-1), -torch.inf)
    value, index = ranked.topk(min(width, total.shape[1]), dim=1)
    return kept.gather(1, index[..., None].expand(-1, -1, kept.shape[-1])), value


def _earlier(count: int, device: torch.device) -> Tensor:
    positions = torch.arange(count, device=device)
    return positions[None, :] < positions[:, None]
