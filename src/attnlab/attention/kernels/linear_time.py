"""Kernels in time linear in the length: without the queries x keys matrix."""

from __future__ import annotations

import torch
from torch import Tensor

from attnlab.attention.call import Call, Kernel
from attnlab.attention.mask import Causal
from attnlab.attention.nystrom import Nystrom
from attnlab.attention.parts import at_least_fp32, full_precision, repeat_groups

CHUNK = 64  # queries whose own chunk is done by an explicit map; measured best from 32 to 128


class LinearKernel(Kernel):
    """Scores of features: phi(q).(sum phi(k) v') / phi(q).(sum phi(k))."""

    fused = True

    def obstacle(self, call: Call) -> str | None:
        if call.mask.custom is not None:
            return "a custom mask"
        if set(call.mask.rules) - {Causal()}:
            return "a rule over positions other than a causal mask"
        if call.mask.rules and not call.last_queries:
            return "a causal mask where queries and keys do not end at one position"
        return None

    def context(self, call: Call) -> Tensor:
        with full_precision(call.query):
            value = call.present_value
            query, key = at_least_fp32(call.query), at_least_fp32(call.repeated_key)
            if call.mask.keys is not None:
                key = key.masked_fill(~call.mask.keys[:, None, :, None], 0)
            wide = at_least_fp32(repeat_groups(value, query.shape[1]))
            counted = torch.cat([wide, torch.ones_like(wide[..., :1])], dim=-1)
            if call.mask.rules:
                total = _causal(query, key, counted, call.start)
            else:
                total = query @ (key.mT @ counted)
            context, mass = total[..., :-1], total[..., -1:]
            return (context / mass.masked_fill(mass == 0, 1)).to(value.dtype)


def _causal(query: Tensor, key: Tensor, value: Tensor, start: int) -> Tensor:
    """Each query sums over the keys up to its own: chunk by chunk, with a running sum.

    Query 0 is at the position of key `start`; all queries sum over the keys before it.
    """
    memory = key[:, :, :start].mT @ value[:, :, :start]  # batch x maps x width x value width
    key, value = key[:, :, start:], value[:, :, start:]
    sums = []
    for q, k, v in zip(
        query.split(CHUNK, 2), key.split(CHUNK, 2), value.split(CHUNK, 2), strict=True
    ):
        sums.append(q @ memory + (q @ k.mT).tril() @ v)
        memory = memory + k.mT @ v
    return torch.cat(sums, dim=2)


class NystromKernel(Kernel):
    """Landmark attention: left @ (middle @ (right @ value)), three thin products."""

    fused = True

    def context(self, call: Call) -> Tensor:
        structure = call.parts.structure
        if not isinstance(structure, Nystrom):
            raise TypeError("the nystrom kernel serves attention/structure=nystrom")
        with full_precision(call.query):
            factors = structure.factors(call)
            value = at_least_fp32(repeat_groups(call.present_value, call.query.shape[1]))
            context = factors.left @ (factors.middle @ (factors.right @ value))
            return context.to(call.present_value.dtype)
