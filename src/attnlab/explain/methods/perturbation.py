"""Explanations by erasing units: leave-one-out, occlusion, LIME, SHAP."""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from attnlab.explain.subject import Subject

Chosen = npt.NDArray[np.bool_]


def leave_one_out(subject: Subject) -> Tensor:
    """The fall of the log odds when one unit is erased: batch x queries x keys."""
    keys = subject.keys.shape[1]
    kept = ~torch.eye(keys, dtype=torch.bool, device=subject.keys.device)
    return _drops(subject, kept.expand(len(subject), -1, -1))


def occlusion(subject: Subject, reach: int) -> Tensor:
    """The same for a unit and its neighbours, on a line or in a picture (Zeiler & Fergus 2014).

    A unit's score is the mean over all such windows that cover it: batch x queries x keys.
    """
    near = neighbours(subject, reach)  # keys x keys
    drops = _drops(subject, ~near.expand(len(subject), -1, -1))  # batch x queries x centres
    covering = (near & subject.keys[:, :, None]).to(drops)  # batch x centres x keys
    return drops @ covering / covering.sum(1, keepdim=True).clamp_min(1)


def neighbours(subject: Subject, reach: int) -> Tensor:
    """Which units are at most `reach` apart, each way: keys x keys."""
    positions = torch.arange(subject.keys.shape[1], device=subject.keys.device)
    if subject.embedded.grid is None:
        return (positions[:, None] - positions).abs() <= reach
    rows, columns = positions // subject.embedded.grid[1], positions % subject.embedded.grid[1]
    across = (columns[:, None] - columns).abs() <= reach
    return across & ((rows[:, None] - rows).abs() <= reach)


def lime(subject: Subject, samples: int) -> Tensor:
    """Weights of a linear model of the log odds near the example (Ribeiro et al. 2016).

    A ridge regression on random halves of the units, whose samples weigh more the more units they
    keep (their kernel for text: cosine distance, width 0.25).
    """
    random = torch.Generator().manual_seed(0)
    drawn = torch.rand(len(subject), samples, subject.keys.shape[1], generator=random) < 0.5
    kept = drawn.to(subject.keys.device) | ~subject.keys[:, None]
    kept[:, 0] = True
    share = (kept & subject.keys[:, None]).sum(-1) / subject.keys.sum(-1, keepdim=True)
    weight = torch.exp(-((1 - share.double().sqrt()) ** 2) / (2 * 0.25**2))  # batch x samples
    outputs = subject.where_kept(kept, Subject.evidence).double()
    return _ridge(kept.double(), outputs, weight, penalty=1.0)


def shap(subject: Subject, samples: int) -> Tensor:
    """Shapley values by weighted least squares (KernelSHAP, Lundberg & Lee 2017).

    Exact, over all coalitions, where there are at most `samples`; else over as many, partly drawn
    by the Shapley kernel, each with its complement (Covert & Lee 2021).
    """
    kept, weight = _coalitions(subject.keys, samples)
    ends = torch.stack([torch.zeros_like(subject.keys), subject.keys], 1)
    variants = torch.cat([ends, kept], 1)
    outputs = subject.where_kept(variants, Subject.evidence).double()
    nothing, everything = outputs[:, 0], outputs[:, 1]  # batch x queries
    gained = outputs[:, 2:] - nothing[:, None]
    return _shares(kept.double(), gained, weight, everything - nothing, subject.keys)


def _drops(subject: Subject, kept: Tensor) -> Tensor:
    """The fall of the log odds in each variant, zero where no real unit is erased.

    kept is batch x variants x keys; gives batch x queries x variants.
    """
    whole = torch.ones_like(kept[:, :1])
    outputs = subject.where_kept(torch.cat([whole, kept], 1), Subject.evidence)
    drops = (outputs[:, :1] - outputs[:, 1:]).transpose(1, 2)
    erased = (~kept & subject.keys[:, None]).any(-1)  # batch x variants
    return drops * erased[:, None]


def _ridge(kept: Tensor, values: Tensor, weight: Tensor, penalty: float) -> Tensor:
    """Least squares with an intercept: batch x samples x keys, x queries, x none."""
    share = (weight / weight.sum(1, keepdim=True))[..., None]
    inputs = kept - (share * kept).sum(1, keepdim=True)
    outputs = values - (share * values).sum(1, keepdim=True)
    weighted = (weight[..., None] * inputs).transpose(1, 2)  # batch x keys x samples
    ridge = penalty * torch.eye(kept.shape[-1], dtype=kept.dtype, device=kept.device)
    return torch.linalg.solve(weighted @ inputs + ridge, weighted @ outputs).transpose(1, 2)


def _shares(kept: Tensor, gained: Tensor, weight: Tensor, whole: Tensor, keys: Tensor) -> Tensor:
    """Least squares whose solution sums to `whole` over the real keys: batch x queries x keys."""
    weighted = (weight[..., None] * kept).transpose(1, 2)  # batch x keys x samples
    batch, count = keys.shape
    # Karush-Kuhn-Tucker: the last row and column hold the sum. The ridge makes the solution unique
    # for padding and for keys that too few coalitions tell apart.
    system = kept.new_zeros(batch, count + 1, count + 1)
    ridge = 1e-10 * torch.eye(count, dtype=kept.dtype, device=kept.device)
    system[:, :count, :count] = weighted @ kept + ridge
    system[:, :count, count] = system[:, count, :count] = keys.to(kept)
    right = torch.cat([weighted @ gained, whole[:, None]], 1)  # batch x keys + 1 x queries
    return torch.linalg.solve(system, right)[:, :count].transpose(1, 2)


def _coalitions(keys: Tensor, samples: int) -> tuple[Tensor, Tensor]:
    """Sets of units for each example, batch x samples x keys, and their weights."""
    random = np.random.default_rng(0)
    kept = np.zeros((*keys.shape[:1], samples, keys.shape[1]), bool)
    weight = np.zeros(kept.shape[:2])
    for i, real in enumerate(keys.cpu().numpy()):
        players = np.flatnonzero(real)
        chosen, counted = _coalitions_of(len(players), samples, random)
        kept[i, : len(chosen), players] = chosen.T
        weight[i, : len(chosen)] = counted
    return torch.from_numpy(kept).to(keys.device), torch.from_numpy(weight).to(keys.device)


def _coalitions_of(
    players: int, samples: int, random: np.random.Generator
) -> tuple[Chosen, npt.NDArray[np.float64]]:
    """Coalitions x players, neither empty nor whole, and the weight of each.

    Takes all coalitions of the smallest and largest sizes, where the kernel is heaviest, as long
    as `samples` suffice; draws the rest from the sizes between.
    """
    kernel = {s: 1 / (s * (players - s)) for s in range(1, players)}  # of all of a size together
    chosen, weights = [np.zeros((0, players), bool)], [np.zeros(0)]
    for size in range(1, players // 2 + 1):
        sizes = {size, players - size}
        ways = math.comb(players, size) * len(sizes)
        share = sum(kernel[s] for s in sizes) / sum(kernel.values())
        if ways > samples * share * (1 + 1e-9):  # fewer would be drawn of this size than there are
            break
        subsets = _subsets(players, size)
        every = subsets if len(sizes) == 1 else np.concatenate([subsets, ~subsets])
        chosen.append(every)
        weights.append(np.full(ways, sum(kernel.pop(s) for s in sizes) / ways))
        samples -= ways
        if not kernel:
            break
    if kernel and samples > 1:
        drawn = _drawn(players, kernel, samples // 2, random)
        chosen.append(np.concatenate([drawn, ~drawn]))
        weights.append(np.full(2 * len(drawn), sum(kernel.values()) / (2 * len(drawn))))
    return np.concatenate(chosen), np.concatenate(weights)


def _subsets(players: int, size: int) -> Chosen:
    """All of this size: subsets x players."""
    members = np.array(list(itertools.combinations(range(players), size)))
    chosen = np.zeros((len(members), players), bool)
    np.put_along_axis(chosen, members, True, axis=1)
    return chosen


def _drawn(
    players: int, kernel: dict[int, float], samples: int, random: np.random.Generator
) -> Chosen:
    """Sizes by the kernel, members evenly: samples x players."""
    sizes, weights = np.array(list(kernel)), np.array(list(kernel.values()))
    size = random.choice(sizes, size=samples, p=weights / weights.sum())
    return random.random((samples, players)).argsort(1).argsort(1) < size[:, None]
