"""Operations on states and maps that several parts and kernels share."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.nn.functional import pad

FORBIDDEN_LOG = -1e5  # allowed keys have more, those of weight zero the log of the smallest number


def project_maps(states: Tensor, weight: Tensor) -> Tensor:
    """Each map's states times its own matrix: one product a map, which reads the matrix once."""
    batch, _, length, _ = states.shape  # batch x maps x length x width
    rows = states.transpose(0, 1).flatten(1, 2)  # maps x batch * length x width
    projected = rows @ weight.to(states.dtype)  # weight: maps x width x new width
    return projected.unflatten(1, (batch, length)).transpose(0, 1)


def repeat_groups(tensor: Tensor, maps: int) -> Tensor:
    """Repeat keys or values that maps share, once a map: batch x maps x keys x width."""
    shared = maps // tensor.shape[1]
    return tensor if shared == 1 else tensor.repeat_interleave(shared, dim=1)


def of_keys(matrix: Tensor, kept: Tensor, maps: int) -> Tensor:
    """The columns of the keys that each group of maps keeps: batch x maps x queries x kept.

    Args:
        matrix: Broadcasts to batch x maps x queries x keys.
        kept: batch x groups x kept, positions of keys.
        maps: How many maps there are.
    """
    index = repeat_groups(kept, maps)[:, :, None].expand(-1, -1, matrix.shape[2], -1)
    return matrix.expand(*index.shape[:2], -1, -1).gather(-1, index)


def over_all_keys(maps: Tensor, kept: Tensor, keys: int, absent: float) -> Tensor:
    """The reverse: batch x maps x queries x kept -> batch x maps x queries x keys."""
    index = repeat_groups(kept, maps.shape[1])[:, :, None].expand_as(maps)
    return maps.new_full((*maps.shape[:3], keys), absent).scatter(-1, index, maps)


def joined_rows(maps: Sequence[Tensor], absent: float) -> Tensor:
    """Maps one below the other; those of earlier steps, with fewer keys, have `absent` for them."""
    keys = max(each.shape[-1] for each in maps)
    return torch.cat([pad(each, (0, keys - each.shape[-1]), value=absent) for each in maps], 2)


def safe_log(weights: Tensor) -> Tensor:
    """log of the weights; zero weights give the log of the smallest number and no gradient."""
    return weights.clamp_min(torch.finfo(weights.dtype).tiny).log()


def mark_forbidden(logs: Tensor, allowed: Tensor | None) -> Tensor:
    """Give forbidden keys a log weight by which losses tell them from allowed keys of weight zero.

    Args:
        logs: batch x heads x queries x keys, finite.
        allowed: batch x heads or maps x queries x keys; heads may mix several maps.
    """
    if allowed is None:
        return logs
    if allowed.shape[1] not in (1, logs.shape[1]):
        allowed = allowed.any(1, keepdim=True)
    return logs.masked_fill(~allowed, FORBIDDEN_LOG)


def entropy(weights: Tensor) -> Tensor:
    """Entropy of the positive part of each row, in nats; the slope at zero is finite.

    Weights below zero (differential attention, say) count as zero; rows are not rescaled.
    """
    positive = weights.clamp_min(0)
    return -(positive * positive.clamp_min(1e-30).log()).sum(-1)


def at_least_fp32(tensor: Tensor) -> Tensor:
    """The tensor in fp32, or float64 if it is: sums over many keys need no less."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


AS_IT_IS = nullcontext()  # one for all: a call enters it several times


def full_precision(tensor: Tensor) -> AbstractContextManager[object]:
    """Without autocast on the tensor's device: products have the precision of their operands."""
    device = tensor.device.type
    if not (torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)):
        return AS_IT_IS
    return torch.autocast(device, enabled=False)
