"""Figures of a map, read a few rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attnlab.attention.call import Call
from attnlab.attention.parts import entropy as row_entropy
from attnlab.attention.probes.selectors import Selection


@dataclass(frozen=True)
class Statistics:
    """Figures of a map, computed without holding the whole map."""

    entropy: Tensor  # examples x heads x queries, in nats; of the weights above zero
    maximum: Tensor  # examples x heads x queries, the largest weight
    distance: Tensor  # examples x heads x queries, weighted mean of |query - key|
    received: Tensor  # examples x heads x keys, the mass that each key gets from all queries


def joined(parts: Sequence[Statistics]) -> Statistics:
    """The figures of one map from those of its rows, whose keys may grow from part to part."""
    received = parts[0].received
    for part in parts[1:]:
        received = _longer(received, part.received) + part.received
    names = ("entropy", "maximum", "distance")
    entropy, maximum, distance = (torch.cat([getattr(p, n) for p in parts], 2) for n in names)
    return Statistics(entropy, maximum, distance, received)


def statistics(selection: Selection, calls: Sequence[Call], rows_at_once: int) -> Statistics:
    """Read the maps of all calls, `rows_at_once` queries at a time."""
    parts = [
        of_weights(weights, call.positions)
        for call, weights in _tiles(selection, calls, rows_at_once)
    ]
    if not parts:
        raise RuntimeError(f"nothing passed {selection.attention.site} while probed")
    return joined(parts)


def of_weights(weights: Tensor, positions: Tensor, row_weight: Tensor | None = None) -> Statistics:
    """The figures of a map, examples x heads x queries x keys.

    Args:
        positions: queries, where each stands on the axis of the keys.
        row_weight: examples x queries, how often each row counts in `received`; None: once.
    """
    keys = torch.arange(weights.shape[-1], device=weights.device)
    apart = (positions[:, None] - keys).abs().to(weights.dtype)  # queries x keys
    counted = weights if row_weight is None else weights * row_weight[:, None, :, None]
    return Statistics(
        entropy=row_entropy(weights),
        maximum=weights.amax(-1),
        distance=(weights * apart).sum(-1),
        received=counted.sum(2),
    )


def _tiles(
    selection: Selection, calls: Sequence[Call], rows_at_once: int
) -> Iterator[tuple[Call, Tensor]]:
    """Each tile of rows as a call, and its weights: examples x heads x rows x keys."""
    for call in calls:
        past = call.past
        for first in range(0, call.queries, rows_at_once):
            tile = call.rows(slice(first, first + rows_at_once))
            if selection.attention.recurrent:
                unrolled = replace(tile, past=past).unroll()
                past, weights = unrolled.past, unrolled.weights
            else:
                weights = tile.expected
            yield tile, selection.pick(weights)


def _longer(received: Tensor, mass: Tensor) -> Tensor:
    """The keys of self-attention grow from step to step: earlier sums get zeros for new keys."""
    return torch.nn.functional.pad(received, (0, mass.shape[-1] - received.shape[-1]))
