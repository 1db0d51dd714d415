"""Scores of features: values are summed by keys first, in time linear in the length."""

from __future__ import annotations

import torch
from torch import Tensor

from attnlab.attention.call import Call
from attnlab.attention.kernels.reference import Reference
from attnlab.attention.mask import Causal
from attnlab.attention.parts import spread, wide

CHUNK = 64  # queries whose own chunk is done by an explicit map; measured best from 32 to 128


class LinearKernel(Reference):
    """phi(q).(sum phi(k) v') / phi(q).(sum phi(k))."""

    fused = True

    def can(self, call: Call) -> bool:
        if call.mask.custom is not None or not set(call.mask.rules) <= {Causal()}:
            return False
        return not call.mask.rules or (call.from_start and call.queries == call.keys)

    def context(self, call: Call) -> Tensor:
        if call.value is None:
            raise ValueError("a call that was made for maps alone has no values")
        maps = call.query.shape[1]
        query, key = wide(call.query), wide(call.spread_key)
        value = wide(spread(call.value, maps))
        if call.mask.keys is not None:
            key = key.masked_fill(~call.mask.keys[:, None, :, None], 0)
        counted = torch.cat([value, torch.ones_like(value[..., :1])], dim=-1)
        total = _causal(query, key, counted) if call.mask.rules else query @ (key.mT @ counted)
        context, mass = total[..., :-1], total[..., -1:]
        return (context / mass.masked_fill(mass == 0, 1)).to(call.value.dtype)


def _causal(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Each query sums over the keys up to its own: chunk by chunk, with a running sum."""
    memory = key.new_zeros(*key.shape[:2], key.shape[-1], value.shape[-1])
    found = []
    for q, k, v in zip(
        query.split(CHUNK, 2), key.split(CHUNK, 2), value.split(CHUNK, 2), strict=True
    ):
        found.append(q @ memory + (q @ k.mT).tril() @ v)
        memory = memory + k.mT @ v
    return torch.cat(found, dim=2)
