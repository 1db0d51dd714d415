"""`TargetBatch`: the attention targets of a batch, padded, as tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from attnlab.data.groups import Groups
from attnlab.data.target import AttentionTarget, Weights

MAPS = ("weights", "possible", "points")


@dataclass(frozen=True)
class TargetBatch:
    """Gold maps of a batch; every tensor is zero or False in the padding."""

    weights: Tensor  # batch x queries x keys, float32, >= 0, as annotated (not normalised)
    query_mask: Tensor  # batch x queries, bool: rows that somebody annotated
    key_mask: Tensor  # batch x keys, bool: columns that can be attended to
    row_mask: Tensor  # batch x queries, bool: rows that exist, annotated or not
    weight: Tensor  # batch, float32: how much each example counts in the loss
    possible: Tensor | None = None  # batch x queries x keys: sure and possible links
    points: Tensor | None = None  # batch x queries x keys: fixation counts

    def distribution(self) -> Tensor:
        """Rows that sum to one, or are zero where nothing is marked: batch x queries x keys."""
        return self.weights / self.weights.sum(-1, keepdim=True).clamp_min(1e-30)

    def marks(self) -> Tensor:
        """The keys that gold accepts (sure or possible): batch x queries x keys, bool."""
        return (self.weights if self.possible is None else self.possible) > 0

    def rows(self) -> Tensor:
        """Annotated rows with something marked in them: batch x queries, bool."""
        return self.query_mask & (self.weights > 0).any(-1)

    def keys(self) -> Tensor:
        """The key mask spread over the rows: batch x queries x keys, bool."""
        return self.key_mask[:, None, :].expand_as(self.weights)

    def with_maps(self, change: Callable[[Tensor], Tensor]) -> TargetBatch:
        """Every matrix over the keys changed alike."""
        names = [name for name in MAPS if getattr(self, name) is not None]
        return replace(self, **{name: change(getattr(self, name)) for name in names})

    def to(self, device: torch.device | str, non_blocking: bool = False) -> TargetBatch:
        return self._moved(lambda value: value.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> TargetBatch:
        return self._moved(Tensor.pin_memory)

    def select(self, examples: Tensor | slice) -> TargetBatch:
        """The targets of some of the examples."""
        count = len(self.weight[examples])
        return self._changed(
            lambda value: value[examples], lambda zero: zero.expand(count, *self.weights.shape[1:])
        )

    def _moved(self, move: Callable[[Tensor], Tensor]) -> TargetBatch:
        return self._changed(move, lambda zero: move(zero).expand(self.weights.shape))

    def _changed(
        self, change: Callable[[Tensor], Tensor], change_zero: Callable[[Tensor], Tensor]
    ) -> TargetBatch:
        """All tensors, changed; `change_zero` is for the one zero in batches without gold."""
        changed = {}
        for name, value in self._tensors().items():
            if name == "weights" and not any(value.stride()):
                changed[name] = change_zero(value[:1, :1, :1])
            else:
                changed[name] = change(value)
        return TargetBatch(**changed)

    def _tensors(self) -> dict[str, Tensor]:
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


def collate_targets(
    targets: Sequence[AttentionTarget | None],
    queries: int,
    keys: int,
    shapes: Sequence[tuple[int, int]] | None = None,
) -> TargetBatch:
    """Pad to queries x keys. An example without a target has no annotated row.

    `shapes` gives the true (queries, keys) of every example: needed only where an objective that
    uses no gold (guided, entropy) is to reach examples whose target is None. Without any target
    the weights are one zero, seen as often as there are pairs: long texts have many.
    """
    batch = len(targets)
    weights = np.zeros((batch, queries, keys), np.float32)  # memory that is used where written to
    query_mask, row_mask = np.zeros((2, batch, queries), bool)
    key_mask = np.zeros((batch, keys), bool)
    for i, target in enumerate(targets):
        if target is None:
            q, k = (0, 0) if shapes is None else shapes[i]
            row_mask[i, :q], key_mask[i, :k] = True, True
            continue
        q, k = target.weights.shape
        if q > queries or k > keys:
            raise ValueError(f"a target of {q} x {k} does not fit into {queries} x {keys}")
        weights[i, :q, :k] = target.weights * target.key_mask
        query_mask[i, :q], row_mask[i, :q], key_mask[i, :k] = (
            target.query_mask,
            True,
            target.key_mask,
        )
    without = all(target is None for target in targets)
    return TargetBatch(
        weights=torch.zeros(1).expand(weights.shape) if without else torch.from_numpy(weights),
        query_mask=torch.from_numpy(query_mask),
        key_mask=torch.from_numpy(key_mask),
        row_mask=torch.from_numpy(row_mask),
        weight=torch.tensor([1.0 if t is None else t.weight for t in targets]),
        possible=_padded([t and t.possible for t in targets], weights.copy),
        points=_padded([t and t.points for t in targets], lambda: np.zeros_like(weights)),
    )


def _padded(matrices: Sequence[Weights | None], otherwise: Callable[[], Weights]) -> Tensor | None:
    """The matrices padded to the shape of `otherwise`, which stands in where one is missing."""
    if all(matrix is None for matrix in matrices):
        return None
    stacked = otherwise()
    for i, matrix in enumerate(matrices):
        if matrix is not None:
            stacked[i, : matrix.shape[0], : matrix.shape[1]] = matrix
    return torch.from_numpy(stacked)


def regroup_maps(weights: Tensor, queries: Sequence[Groups], keys: Sequence[Groups]) -> Tensor:
    """Predicted maps over other units, such as pieces to words, padded: a tensor batch x Q' x K'.

    `queries[i]` and `keys[i]` are those of example i; its map may be padded beyond their old
    units. Rows are averaged, columns shared out, so that a row that summed to one still does.
    """
    size = (len(weights), max(map(len, queries)), max(map(len, keys)))
    made = weights.new_zeros(size)
    for i, (q, k) in enumerate(zip(queries, keys, strict=True)):
        averaged = _averaging(q, weights)  # Q' x Q
        shared = _sharing(k, weights)  # K' x K
        made[i, : len(q), : len(k)] = averaged @ weights[i, : q.old, : k.old] @ shared.T
    return made


def _sharing(groups: Groups, like: Tensor) -> Tensor:
    """A new x old matrix whose columns sum to one: what each old unit gives to each new one."""
    matrix = groups.share(np.eye(groups.old, dtype=np.float32), 0)
    return torch.from_numpy(matrix).to(like)


def _averaging(groups: Groups, like: Tensor) -> Tensor:
    """A new x old matrix whose rows sum to one: the mean of each new unit's members."""
    counted = np.ones(groups.old, bool)
    matrix = groups.mean(np.eye(groups.old, dtype=np.float32), 0, counted)
    return torch.from_numpy(matrix).to(like)
