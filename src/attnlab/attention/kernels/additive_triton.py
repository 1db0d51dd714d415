"""Additive scores on CUDA, in Triton.

Both sides come as hidden x length, so that for each hidden unit a tile of scores gets a rank-one
update and never a tile x hidden block. Each element costs one reciprocal, which bounds the speed.
Whether exponentials overflow is a flag on the device: the host does not wait for it.
"""

# ruff: noqa: N803, PLR0913, PLR0917  (a Triton kernel names its constants and has many arguments)
# Triton types the arguments of a launch as its own constants:
# pyright: reportArgumentType=false
from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

ROWS, COLUMNS = 64, 64  # queries and keys of a tile
LIMIT = 20.0  # beyond this exponentials are computed for each pair


@triton.jit
def _reciprocal(a, b, safe):
    """1 / (1 + e^2(q + k)) for a tile, from e^2q and e^2k if safe, else from 2q and 2k."""
    if safe:  # noqa: SIM108 (a branch on the device; an expression would compute both)
        grown = a[:, None] * b[None, :]
    else:
        grown = tl.exp(tl.minimum(a[:, None] + b[None, :], 80.0))
    return 1.0 / (1.0 + grown)


@triton.jit
def _forward(
    a_ptr, b_ptr, w_ptr, safe_ptr, out_ptr, maps, queries, keys, hidden,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """One tile of scores: sum_d w_d (1 - 2 r_d)."""
    problem = tl.program_id(0).to(tl.int64)
    row = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(2) * COLUMNS + tl.arange(0, COLUMNS)
    safe = tl.load(safe_ptr)
    a_ptr += problem * hidden * queries
    b_ptr += problem * hidden * keys
    w_ptr += (problem % maps) * hidden
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for d in range(hidden):
        a = tl.load(a_ptr + d * queries + row, mask=row < queries, other=0.0)
        b = tl.load(b_ptr + d * keys + column, mask=column < keys, other=0.0)
        w = tl.load(w_ptr + d)
        total += w * (1.0 - 2.0 * _reciprocal(a, b, safe))
    offset = problem * queries * keys + row[:, None].to(tl.int64) * keys + column[None, :]
    inside = (row < queries)[:, None] & (column < keys)[None, :]
    tl.store(out_ptr + offset, total, mask=inside)


@triton.jit
def _backward(
    a_ptr, b_ptr, w_ptr, safe_ptr, grad_ptr, side_ptr, w_grad_ptr, maps, length, others, hidden,
    grad_row, grad_column, WITH_W: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Gradients of one hidden unit for some positions of one side, summed over the other side.

    Called for queries, with the gradient of w, and with the sides exchanged for keys.
    """
    problem = tl.program_id(0).to(tl.int64)
    d = tl.program_id(1)
    row = tl.program_id(2) * ROWS + tl.arange(0, ROWS)
    safe = tl.load(safe_ptr)
    a = tl.load(a_ptr + (problem * hidden + d) * length + row, mask=row < length, other=0.0)
    b_ptr += (problem * hidden + d) * others
    grad_ptr += problem * length * others
    slope = tl.zeros((ROWS,), tl.float32)
    taken = tl.zeros((ROWS,), tl.float32)
    for first in range(0, others, COLUMNS):
        column = first + tl.arange(0, COLUMNS)
        b = tl.load(b_ptr + column, mask=column < others, other=0.0)
        inside = (row < length)[:, None] & (column < others)[None, :]
        offset = row[:, None].to(tl.int64) * grad_row + column[None, :].to(tl.int64) * grad_column
        grad = tl.load(grad_ptr + offset, mask=inside, other=0.0)
        r = _reciprocal(a, b, safe)
        slope += tl.sum(grad * r * (1.0 - r), axis=1)
        if WITH_W:
            taken += tl.sum(grad * (1.0 - 2.0 * r), axis=1)
    w = tl.load(w_ptr + (problem % maps) * hidden + d)
    side = side_ptr + (problem * hidden + d) * length + row
    tl.store(side, 4.0 * w * slope, mask=row < length)
    if WITH_W:
        blocks = tl.num_programs(2)
        tl.store(w_grad_ptr + (problem * hidden + d) * blocks + tl.program_id(2), tl.sum(taken))


class TritonAdditive(torch.autograd.Function):
    """batch x maps x length x hidden twice, maps x hidden -> batch x maps x queries x keys."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, energy: Tensor) -> Tensor:
        q, k = query.float().mT * 2, key.float().mT * 2  # batch x maps x hidden x length
        safe = torch.maximum(q.abs().amax(), k.abs().amax()) <= 2 * LIMIT
        a = torch.where(safe, q.exp(), q).contiguous()
        b = torch.where(safe, k.exp(), k).contiguous()
        w, flag = energy.float().contiguous(), safe.to(torch.int32)
        batch, maps, hidden, queries = a.shape
        keys = b.shape[3]
        out = torch.empty(batch, maps, queries, keys, dtype=torch.float32, device=a.device)
        grid = (batch * maps, triton.cdiv(queries, ROWS), triton.cdiv(keys, COLUMNS))
        _forward[grid](a, b, w, flag, out, maps, queries, keys, hidden, ROWS, COLUMNS)
        ctx.save_for_backward(a, b, w, flag)
        ctx.dtypes = query.dtype, key.dtype, energy.dtype
        return out

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grads: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        a, b, w, flag = ctx.saved_tensors
        grad = grads[0].float().contiguous()
        batch, maps, hidden, queries = a.shape
        keys = b.shape[3]
        problems, blocks = batch * maps, triton.cdiv(queries, ROWS)
        dq, dk = torch.empty_like(a), torch.empty_like(b)
        dw = torch.empty(batch, maps, hidden, blocks, dtype=torch.float32, device=a.device)
        _backward[(problems, hidden, blocks)](
            a, b, w, flag, grad, dq, dw, maps, queries, keys, hidden, keys, 1,
            True, ROWS, COLUMNS,
        )  # fmt: skip
        _backward[(problems, hidden, triton.cdiv(keys, ROWS))](
            b, a, w, flag, grad, dk, dw, maps, keys, queries, hidden, 1, keys,
            False, ROWS, COLUMNS,
        )  # fmt: skip
        gradients = dq.mT, dk.mT, dw.sum((0, 3))
        query, key, energy = (g.to(t) for g, t in zip(gradients, ctx.dtypes, strict=True))
        return query, key, energy
