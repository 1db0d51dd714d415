"""Softmax attention over the blocks that a mask lists: compiled C, forward and backward.

Memory is that of inputs and outputs; time is that of the listed blocks. One pass gives the
contexts, the logarithm of each query's sum of exponentials, and the share of each block in the
weights. Without a compiler the listed blocks are gathered, and torch's operators do the rest.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from attnlab.attention.blocks import Blocks, count, real_blocks
from attnlab.attention.call import Call, Kernel
from attnlab.attention.kernels import native
from attnlab.attention.tensors import at_least_fp32, full_precision, repeat_groups

EMPTY = -1e30  # the logarithm of the sum of a query without an allowed key
MOST = 128  # positions of a block of the compiled kernel
SHORTEST = 128  # queries or keys; with fewer there is little to leave out
SHORTEST_CUSTOM = 512  # of a matrix, whose lists are made in each call


class Attended(NamedTuple):
    """What one pass over the listed blocks gives."""

    context: Tensor  # batch x maps x queries x width
    lse: Tensor  # batch x maps x queries: log of the sum of exponentials, EMPTY where none is
    mass: Tensor  # batch x maps x query blocks x key blocks: mean share in a query's weights


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    blocks: Blocks,
    scale: float,
    real: Tensor | None = None,
) -> Attended:
    """softmax(scale * query key^T) value over the pairs that blocks allow.

    Args:
        query: batch x maps x queries x width, fp32 or float64.
        key: batch x groups x keys x width; each group serves maps / groups maps.
        value: batch x groups x keys x width of the values.
        blocks: The pairs; if they have an order of their own, `mass` has it too.
        scale: What inner products are multiplied by.
        real: batch x keys, False for padding.
    """
    made_for = count(blocks.queries, blocks.size), count(blocks.keys, blocks.size)
    if made_for != (count(query.shape[2], blocks.size), count(key.shape[2], blocks.size)):
        raise ValueError(f"blocks of {made_for} do not fit {query.shape[2]} x {key.shape[2]}")
    groups, width = max(key.shape[1], value.shape[1]), value.shape[-1]
    if groups % min(key.shape[1], value.shape[1]):
        groups = query.shape[1]
    key, value = repeat_groups(key, groups), repeat_groups(value, groups)
    real = None if real is None else real.expand(len(query), -1)
    order, key_order = blocks.query_order, blocks.key_order
    if order is not None and key_order is not None:
        query = Reordered.apply(query, order)
        key, value = Reordered.apply(key, key_order), Reordered.apply(value, key_order)
        real = None if real is None else real[:, key_order]
    suits = blocks.size % native.LANES == 0 and blocks.size <= MOST
    if suits and query.device.type == "cpu" and native.library() is not None:
        wide = [_wide(tensor) for tensor in (query, key, value)]
        attended = Attended(*NativeBlocks.apply(*wide, blocks, scale, real))
    else:
        attended = gathered(query, key, value, blocks, scale, real)
    context, lse, mass = attended
    if order is not None:
        back = order.argsort()
        context, lse = Reordered.apply(context, back), Reordered.apply(lse, back)
    return Attended(context[..., :width], lse, mass)


class Reordered(torch.autograd.Function):
    """The positions of ... x positions (x width), axis 2, in another order."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, order: Tensor) -> Tensor:
        ctx.order = order
        return tensor.index_select(2, order)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grads: Tensor
    ) -> tuple[Tensor, None]:
        return grads[0].index_select(2, ctx.order.argsort()), None


def _wide(tensor: Tensor) -> Tensor:
    """Contiguous, its width a multiple of what the compiled kernel takes at once."""
    missing = -tensor.shape[-1] % native.LANES
    return (F.pad(tensor, (0, missing)) if missing else tensor).contiguous()


class NativeBlocks(torch.autograd.Function):
    """The compiled kernel; keeps inputs, contexts and sums of exponentials."""

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        blocks: Blocks,
        scale: float,
        real: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        shape = query.shape[:3]
        context = query.new_empty(*shape, value.shape[-1])
        top, total = query.new_empty(2, *shape)
        sides = count(shape[2], blocks.size), count(key.shape[2], blocks.size)
        mass = query.new_zeros(*shape[:2], *sides)
        _run("attend", (query, key, value, context, top, total, mass), blocks, scale, real)
        lse = torch.where(total > 0, (top + total.log2()) * native.LOG2, EMPTY)
        ctx.save_for_backward(query, key, value, context, lse)
        ctx.settings = blocks, scale, real
        ctx.mark_non_differentiable(mass)
        return context, lse, mass

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grads: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        query, key, value, context, lse = ctx.saved_tensors
        blocks, scale, real = ctx.settings
        grad = torch.zeros_like(context) if grads[0] is None else grads[0].contiguous()
        delta = (grad * context).sum(-1)  # weights times their gradients, summed over keys
        if grads[1] is not None:
            delta -= grads[1]
        units = torch.where(lse > EMPTY / 2, lse / native.LOG2, -EMPTY)
        pieces = _pieces(key.shape[0] * key.shape[1], count(key.shape[2], blocks.size))
        dq = query.new_zeros(pieces, *query.shape)
        dk, dv = torch.zeros_like(key), torch.zeros_like(value)
        arrays = (query, key, value, grad, units, delta, dq, dk, dv)
        _run("attend_back", arrays, blocks.transposed, scale, real, pieces)
        return dq[0] if pieces == 1 else dq.sum(0), dk, dv, None, None, None


def _pieces(problems: int, blocks: int) -> int:
    """Into how many pieces the keys of a problem are divided, so that all threads have work."""
    threads = torch.get_num_threads()
    if problems % threads == 0 or problems >= 4 * threads:
        return 1
    return min(blocks, -(-2 * threads // problems))


class Lists(ctypes.Structure):
    """`Lists` of block_sparse.c."""

    _fields_ = [
        *((n, ctypes.c_long) for n in ("size", "queries", "keys", "width", "value_width")),
        *((n, ctypes.c_long) for n in ("problems", "group", "maps", "by_example", "by_map")),
        ("pieces", ctypes.c_long),
        ("scale", ctypes.c_double),
        *((n, ctypes.c_void_p) for n in ("starts", "listed", "tile", "tiles", "padding", "real")),
        ("counter", ctypes.c_void_p),
    ]


def _run(
    name: str,
    arrays: Sequence[Tensor],
    blocks: Blocks,
    scale: float,
    real: Tensor | None,
    pieces: int = 1,
) -> None:
    """Call a compiled function in each of torch's threads; they share its items."""
    query, key, value = arrays[:3]
    batch, maps, queries, width = query.shape
    starts = blocks.starts.contiguous()
    read = [starts, blocks.listed, blocks.tile, blocks.tiles]
    if real is not None:
        read += [real.to(torch.uint8).contiguous(), real_blocks(real, blocks.size)]
    addresses = [tensor.data_ptr() for tensor in read] + [None] * (6 - len(read))
    counter = ctypes.c_long(0)
    lists = Lists(
        *(blocks.size, queries, key.shape[2], width, value.shape[-1]),
        *(batch * maps, maps // key.shape[1], maps),
        *(starts.stride(axis) if starts.shape[axis] > 1 else 0 for axis in (0, 1)),
        pieces,
        scale,
        *addresses,
        ctypes.addressof(counter),
    )
    compiled = native.function(name, query.dtype)
    pointers = [native.pointer(tensor) for tensor in arrays]

    def task() -> None:
        if compiled(ctypes.byref(lists), *pointers):
            raise MemoryError("no memory for one block of attention")

    native.run_all([task] * torch.get_num_threads())


def gathered(
    query: Tensor, key: Tensor, value: Tensor, blocks: Blocks, scale: float, real: Tensor | None
) -> Attended:
    """The same by torch's operators: each query block beside the key blocks it reads."""
    (batch, maps, queries, _), size, keys = query.shape, blocks.size, key.shape[2]
    read, allowed = blocks.gathered()  # ... x query blocks x longest (x size x size)
    read, allowed = (t.expand(batch, maps, *t.shape[2:]) for t in (read, allowed))
    missing = -keys % size
    real = key.new_ones(batch, keys, dtype=torch.bool) if real is None else real
    real = F.pad(real, (0, missing)).unflatten(1, (-1, size))  # batch x key blocks x size
    example = torch.arange(batch, device=query.device)[:, None, None, None]
    map_ = torch.arange(maps, device=query.device)[None, :, None, None]
    allowed = (allowed & real[example, read][..., None, :]).transpose(-3, -2).flatten(-2)
    near = [
        F.pad(repeat_groups(t, maps), (0, 0, 0, missing))
        .unflatten(2, (-1, size))[example, map_, read]
        .flatten(3, 4)  # batch x maps x query blocks x longest * size x width
        for t in (key, value)
    ]
    rows = F.pad(query, (0, 0, 0, -queries % size)).unflatten(2, (-1, size))
    logits = (rows @ near[0].mT * scale).masked_fill(~allowed, EMPTY)
    lse = logits.logsumexp(-1).masked_fill(~allowed.any(-1), EMPTY)
    weights = (logits - lse.unsqueeze(-1)).exp().masked_fill(~allowed, 0)
    context = (weights @ near[1]).flatten(2, 3)[:, :, :queries]
    mass = query.new_zeros(*rows.shape[:3], count(keys, size))
    counted = torch.arange(rows.shape[2] * size, device=query.device).view(-1, size) < queries
    each = weights.detach().unflatten(-1, (-1, size)).sum(-1) * counted.unsqueeze(-1)
    mean = each.sum(-2) / counted.sum(-1, keepdim=True)
    return Attended(context, lse.flatten(2, 3)[:, :, :queries], mass.scatter_add(-1, read, mean))


class BlockSparse(Kernel):
    """Masks by rule, custom masks and padding; positions that are a bias are left to SDPA."""

    fused = True

    def obstacle(self, call: Call) -> str | None:
        if torch.compiler.is_compiling():
            return "a graph has to consist of torch's operators"
        if call.position_bias is not None:
            return "a bias on the logits"
        if call.row_positions is not None:
            return "queries picked from a longer call"
        if call.start % (call.parts.structure.block_size or 1):
            return "queries that begin within a block"
        return None

    def worthwhile(self, call: Call) -> bool:
        """Where a mask or the structure may leave out blocks."""
        custom = call.mask.custom is not None
        if call.parts.structure.block_size is None and not custom and not call.mask.rules:
            return False
        return min(call.queries, call.keys) >= (SHORTEST_CUSTOM if custom else SHORTEST)

    def share(self, call: Call) -> float:
        return call.listed[1]

    def context(self, call: Call) -> Tensor:
        with full_precision(call.query):
            query, key, value = (
                at_least_fp32(tensor) for tensor in (call.query, call.key, call.present_value)
            )
            scale, real = call.parts.score.scale, call.mask.keys
            lists = call.listed[0]
            parts = [attend(query, key, value, blocks, scale, real) for blocks in lists]
            extra = call.parts.normalizer.extra_logit()
            context = _joined(parts, extra)
            if len(lists) == 1 and lists[0].query_order is None and extra is None:
                call.block_mass = parts[0].mass
            return call.parts.heads.mix_contexts(context.to(call.present_value.dtype))


def _joined(parts: Sequence[Attended], extra: Tensor | None) -> Tensor:
    """The context over all parts, and over one more key with the logit `extra` and no value."""
    logs = [part.lse for part in parts]
    if extra is not None:
        logs.append(extra.to(logs[0])[:, None].expand_as(logs[0]))
    if len(logs) == 1:
        return parts[0].context
    shares = torch.stack(logs).softmax(0).unsqueeze(-1)
    joined = parts[0].context * shares[0]
    for part, share in zip(parts[1:], shares[1:], strict=False):
        joined = joined + part.context * share
    return joined
