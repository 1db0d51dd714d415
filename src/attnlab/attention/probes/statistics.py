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
    """What a map looks like, without the map."""

    entropy: Tensor  # examples x heads x queries, in nats; of the weights above zero
    maximum: Tensor  # examples x heads x queries, the largest weight
    distance: Tensor  # examples x heads x queries, weighted mean of |query - key|
    received: Tensor  # examples x heads x keys, the mass that each key gets from all queries


def statistics(selection: Selection, calls: Sequence[Call], rows_at_once: int) -> Statistics:
    """Read the maps of all calls, `rows_at_once` queries at a time."""
    entropy, maximum, distance = [], [], []
    received: Tensor | None = None
    for call, weights in _tiles(selection, calls, rows_at_once):
        keys = torch.arange(weights.shape[-1], device=weights.device)
        apart = (call.positions[:, None] - keys).abs().to(weights.dtype)  # queries x keys
        entropy.append(row_entropy(weights))
        maximum.append(weights.amax(-1))
        distance.append((weights * apart).sum(-1))
        mass = weights.sum(2)
        received = mass if received is None else _longer(received, mass) + mass
    if received is None:
        raise RuntimeError(f"nothing passed {selection.attention.site} while probed")
    entropy, maximum, distance = (torch.cat(f, dim=2) for f in (entropy, maximum, distance))
    return Statistics(entropy, maximum, distance, received)


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
