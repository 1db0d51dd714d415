"""`unroll`: the maps of a mechanism whose queries depend on the weights of those before them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from attnlab.attention.parts import Past
from attnlab.attention.tensors import at_least_fp32, full_precision, mark_forbidden, safe_log

if TYPE_CHECKING:
    from attnlab.attention.call import Call


@dataclass(frozen=True)
class Unrolled:
    """The maps of all queries of a call, computed one after the other, and the past they leave."""

    weights: Tensor  # batch x maps x queries x keys
    log_weights: Tensor  # the same, as logarithms
    past: Past


def unroll(
    call: Call, *, sample: bool = False, change: Callable[[Tensor, Call], Tensor] | None = None
) -> Unrolled:
    """The maps query after query, each of which depends on those before it.

    Args:
        call: Of a recurrent mechanism.
        sample: Whether the normalizer may sample, as in training.
        change: Replaces the weights of each query before the next one depends on them.
    """
    past = call.past or _no_past(call)
    weights, logs = [], []
    with full_precision(call.query):
        for row in range(call.queries):
            one = call.rows(slice(row, row + 1))
            row_weights, row_log = _row_weights(one, past, sample)
            row_weights = row_weights if change is None else change(row_weights, one)
            past = past.after(row_weights[:, :, 0])
            weights.append(row_weights)
            logs.append(row_log)
    marked = mark_forbidden(torch.cat(logs, dim=2), call.allowed)
    return Unrolled(torch.cat(weights, dim=2), marked, past)


def _row_weights(call: Call, past: Past, sample: bool) -> tuple[Tensor, Tensor]:
    """The weights and log weights of a call's only query: batch x maps x 1 x keys."""
    score, normalizer, structure = call.parts.score, call.parts.normalizer, call.parts.structure
    query, key = at_least_fp32(call.query), at_least_fp32(call.repeated_key)
    logits = at_least_fp32(score.step(query, key, past))
    for bias in (call.position_bias, structure.step_bias(past)):
        logits = logits if bias is None else logits + bias
    if normalizer.recurrent:
        weights = normalizer.step(logits, call.allowed, past)
        return weights, safe_log(weights)
    normalize = normalizer if sample else normalizer.expected
    weights = structure.weights(call, logits, normalize)
    return weights, structure.log_weights(call, logits, normalizer)


def _no_past(call: Call) -> Past:
    batch, maps = call.query.shape[:2]
    zeros = at_least_fp32(call.query).new_zeros(batch, maps, call.keys)
    return Past(zeros, zeros, 0)
