"""What a model with predicted blocks read of a text, layer by layer: by construction, no estimate.

A position that no chosen block leads to, from an answer's position back through the layers, has no
part in the answer: the gradient there is exactly zero. (Which blocks are chosen may still depend on
it: a choice has no gradient.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from attnlab.attention.call import Call
from attnlab.metrics.read_blocks import Choices

MOST_PAIRS = 2**18  # of positions, of a text whose reading is kept


class BlockReading(NamedTuple):
    """What was read of a text, for some answers; each rows x keys."""

    dense: npt.NDArray[np.float32]  # the map that is shown, with all keys
    read: npt.NDArray[np.float32]  # 1 where some head of this map read the key, else 0
    missed: npt.NDArray[np.float32]  # 1 where the mask allows a key to which no layer leads, else 0


@torch.no_grad()
def reached(layers: Sequence[Call]) -> Tensor:
    """Which positions each state depends on after some layers: batch x states x positions.

    Args:
        layers: The calls of self-attention, the first layer's first; each layer adds what it reads
            to the state that reads, and mixes positions in no other way.
    """
    first = layers[0]
    leads = torch.eye(first.keys, device=first.query.device).expand(len(first.query), -1, -1)
    for call in layers:
        leads = ((pairs_read(call).float() @ leads + leads) > 0).float()
    return leads > 0


def pairs_read(call: Call) -> Tensor:
    """Which keys each query read, in any head: batch x queries x keys."""
    shape = len(call.query), call.queries, call.keys
    if call.allowed is None:
        return torch.ones(shape, dtype=torch.bool, device=call.query.device)
    return call.allowed.any(1).expand(shape)


@torch.no_grad()
def block_readings(
    calls: Choices, shown: Sequence[Call], rows: Sequence[tuple[int, list[int]]]
) -> Iterator[BlockReading | None]:
    """What some examples of a batch read; None where not every layer chose blocks, once a text.

    Args:
        calls: Of all layers, of a causal model whose answers are made from single states.
        shown: The calls of the map that is shown.
        rows: For each of the examples its number in the batch, and the states of its answers.
    """
    layers = [of_site[0] for _, of_site in calls if len(of_site) == 1]
    whole = len(layers) == len(calls) > 0 and len(shown) == 1
    if not whole or shown[0].kept is not None or shown[0].queries ** 2 > MOST_PAIRS:
        yield from (None for _ in rows)
        return
    (call,) = shown
    read, dense = pairs_read(call), call.of_every_key()
    missed = pairs_read(dense) & ~reached(layers)
    for example, states in rows:
        own = dense.sample(torch.tensor([example])).expected.mean(1)[0]
        parts = (own, read[example], missed[example])
        yield BlockReading(*(each[states].float().cpu().numpy() for each in parts))
