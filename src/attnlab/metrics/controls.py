"""Control maps: uninformed ones, and gold itself. A figure means nothing without them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from attnlab.data.target import AttentionTarget
from attnlab.data.target_batch import TargetBatch, collate_targets

GRID = 64  # cells along each axis in which a position prior over varying lengths is kept


class PositionPrior:
    """The mean gold map over relative positions: what can be known without reading the input."""

    def __init__(self, grid: Tensor) -> None:
        self.grid = grid  # queries x keys, relative positions

    @classmethod
    def fit(cls, targets: Iterable[AttentionTarget]) -> PositionPrior:
        """From training targets only: fitted on what it is evaluated on, it would know the answer.

        Where all maps have one shape (images), position is the exact place, else the relative one.
        """
        targets = list(targets)
        shapes = {target.weights.shape for target in targets}
        shape = shapes.pop() if len(shapes) == 1 else (GRID, GRID)
        sums, counts = np.zeros(shape), np.zeros((shape[0], 1))
        for target in targets:
            stretched, annotated = _stretch(target, shape)
            sums += stretched * annotated
            counts += annotated
        mean = np.divide(sums, counts, out=np.full_like(sums, 1 / shape[1]), where=counts > 0)
        return cls(torch.from_numpy(mean))

    def weights(self, target: TargetBatch) -> Tensor:
        made = torch.zeros_like(target.weights, dtype=torch.double)
        rows, columns = target.row_mask.sum(-1).tolist(), _extent(target.key_mask)
        for i, (queries, keys) in enumerate(zip(rows, columns, strict=True)):
            if queries and keys:
                shape = (queries, keys)
                made[i, :queries, :keys] = _resize(self.grid.to(made.device), shape)
        return _normalised(made, target)


class KeyFrequency:
    """Inverse frequency of the key's unit: rare words draw the eye, whatever they say."""

    def __init__(self, counts: Counter[str]) -> None:
        self.counts = counts

    @classmethod
    def fit(cls, units: Iterable[Sequence[str]]) -> KeyFrequency:
        """From the key units (words, characters) of the training examples."""
        return cls(Counter(unit for sequence in units for unit in sequence))

    def weights(self, target: TargetBatch, units: Sequence[Sequence[str]]) -> Tensor:
        made = torch.zeros_like(target.weights, dtype=torch.double)
        for i, sequence in enumerate(units):
            inverse = [1 / (1 + self.counts[unit]) for unit in sequence]
            made[i, :, : len(sequence)] = torch.tensor(inverse, dtype=torch.double)
        return _normalised(made, target)


def controls(
    target: TargetBatch,
    prior: PositionPrior | None = None,
    frequency: KeyFrequency | None = None,
    units: Sequence[Sequence[str]] | None = None,
    seed: int = 0,
) -> dict[str, Tensor]:
    """Maps by name, each batch x queries x keys; a fitted one only where it was given.

    `permuted` is the gold map of another example of the batch, stretched to fit; a batch of one
    has none other, and gets its own key order shuffled. `oracle` is gold; the best that a figure
    can reach, under its link rule for instance, is what its metric's `update_best` adds.
    """
    random = torch.Generator().manual_seed(seed)
    made = {
        "uniform": _normalised(torch.ones_like(target.weights, dtype=torch.double), target),
        "random": _random(target, random),
        "permuted": _permuted(target, random),
        "oracle": _normalised(_oracle(target), target),
    }
    if prior is not None:
        made["position"] = prior.weights(target)
    if frequency is not None and units is not None:
        made["frequency"] = frequency.weights(target, units)
    return made


def one_against_others(
    targets: Sequence[AttentionTarget | None],
) -> Iterator[tuple[Tensor, TargetBatch]]:
    """Each annotator's own map, and the gold that the others make: how well people agree.

    Examples are those with at least two annotators. Rows count where both mark something.
    """
    several = [t for t in targets if t is not None and len(t.annotators) > 1 and t.points is None]
    for number in range(max((len(target.annotators) for target in several), default=0)):
        annotated = [target for target in several if number < len(target.annotators)]
        own = [replace(target, weights=target.annotators[number]) for target in annotated]
        others = [
            replace(
                target,
                weights=np.mean(
                    [each for i, each in enumerate(target.annotators) if i != number],
                    axis=0,
                    dtype=np.float32,
                ),
            )
            for target in annotated
        ]
        queries, keys = (max(sizes) for sizes in zip(*(t.weights.shape for t in own), strict=True))
        maps, gold = (collate_targets(each, queries, keys) for each in (own, others))
        both = gold.query_mask & (maps.weights > 0).any(-1)
        yield maps.distribution().double(), replace(gold, query_mask=both)


def _gold(target: TargetBatch) -> Tensor:
    """The gold weights, or the possible links in rows that have no sure one."""
    weights = target.weights.double()
    return torch.where((weights > 0).any(-1, keepdim=True), weights, target.marks().double())


def _oracle(target: TargetBatch) -> Tensor:
    """Gold, in which keys that are only possible come after the sure ones."""
    gold = _gold(target)
    least = torch.where(gold > 0, gold, torch.inf).amin(-1, keepdim=True)
    rest = target.marks() & (gold <= 0) & least.isfinite()
    return torch.where(rest, least / 2, gold)


def _random(target: TargetBatch, random: torch.Generator) -> Tensor:
    """Rows drawn evenly from all distributions: normalised exponentials."""
    drawn = torch.empty(target.weights.shape, dtype=torch.double).exponential_(generator=random)
    return _normalised(drawn.to(target.weights.device), target)


def _permuted(target: TargetBatch, random: torch.Generator) -> Tensor:
    """The gold map of the next example in a random order of the batch, stretched to fit."""
    batch = len(target.weights)
    order = torch.randperm(batch, generator=random).tolist()
    giver = dict(zip(order, order[1:] + order[:1], strict=True))
    rows, columns = target.row_mask.sum(-1).tolist(), _extent(target.key_mask)
    gold = _gold(target)
    made = torch.zeros_like(gold)
    for i in range(batch):
        other = giver[i]
        if min(rows[i], columns[i], rows[other], columns[other]) == 0:
            continue
        source = gold[other, : rows[other], : columns[other]]
        if batch == 1:
            source = source[:, torch.randperm(columns[i], generator=random).to(source.device)]
        made[i, : rows[i], : columns[i]] = _resize(source, (rows[i], columns[i]))
    return _normalised(made, target)


def _stretch(
    target: AttentionTarget, shape: tuple[int, int]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """A gold map over relative positions, and which of its rows are annotated (rows x 1)."""
    marked = target.query_mask & (target.weights.sum(1) > 0)
    distribution = torch.from_numpy(target.distribution()).double()
    stretched = _resize(distribution, shape).numpy()
    rows = (np.arange(shape[0]) * len(marked)) // shape[0]
    total = stretched.sum(1, keepdims=True)
    normalised = np.divide(stretched, total, out=np.zeros_like(stretched), where=total > 0)
    return normalised, marked[rows][:, None].astype(float)


def _resize(matrix: Tensor, shape: tuple[int, int]) -> Tensor:
    """Rows by the nearest, columns by overlap: no mass falls between the cells."""
    rows = (torch.arange(shape[0], device=matrix.device) * len(matrix)) // shape[0]
    picked = matrix[rows][:, None]  # rows x 1 x columns
    return interpolate(picked, shape[1], mode="area")[:, 0]


def _extent(mask: Tensor) -> list[int]:
    """One more than the last place that is on, for each example."""
    positions = torch.arange(1, mask.shape[-1] + 1, device=mask.device)
    return (mask * positions).amax(-1).tolist()


def _normalised(weights: Tensor, target: TargetBatch) -> Tensor:
    """Rows that sum to one over the key mask; a row that has nothing becomes uniform."""
    kept = weights * target.keys()
    empty = (kept.sum(-1, keepdim=True) <= 0) & target.keys()
    kept = torch.where(empty, 1.0, kept)
    return (kept / kept.sum(-1, keepdim=True).clamp_min(1e-30)) * target.row_mask[..., None]
