"""Additive scores without the queries x keys x hidden tensor.

w.tanh(q + k) summed over the hidden width, for each query and key. The plain formula broadcasts
to batch x maps x queries x keys x hidden and keeps that for the backward pass: 1.5 GiB where the
score matrix itself takes 8 MiB. Three ways round, chosen by device and size:

- compiled C on the CPU (`native`, `additive.c`), by the identity tanh(x) = 1 - 2 / (1 + e^2x),
  where e^2(q + k) = e^2q e^2k needs one exponential for each side and none for each pair;
- the same in Triton on CUDA (`additive_triton`);
- a loop over a few queries at a time, anywhere, and where pre-activations are so large that
  their exponentials would overflow.
"""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from attnlab.attention.call import Call, Kernel
from attnlab.attention.kernels import native
from attnlab.attention.scores import Additive
from attnlab.attention.tensors import at_least_fp32

CHUNK = 1 << 20  # elements of the broadcast that the loop has in memory at a time
LIMIT = {torch.float32: 20.0, torch.float64: 170.0}  # e^4x and its square stay finite up to this


class AdditiveKernel(Kernel):
    """The logits of additive scores; weights and contexts follow as in the reference."""

    def logits(self, call: Call) -> Tensor:
        score = call.parts.score
        if not isinstance(score, Additive):
            raise TypeError("the additive kernel serves additive scores")
        if torch.compiler.is_compiling():
            return super().logits(call)  # a graph to export has to consist of torch's operators
        query, key = at_least_fp32(call.query), at_least_fp32(call.repeated_key)
        return additive_scores(query, key, at_least_fp32(score.energy))


def additive_scores(query: Tensor, key: Tensor, energy: Tensor) -> Tensor:
    """batch x maps x queries x keys, from batch x maps x length x hidden and maps x hidden x 1."""
    vectors = energy.squeeze(-1)
    if query.is_cuda and importlib.util.find_spec("triton") is not None:
        from attnlab.attention.kernels.additive_triton import TritonAdditive

        return TritonAdditive.apply(query, key, vectors)
    if query.device.type == "cpu" and native.library() is not None and _fits(query, key):
        return NativeAdditive.apply(query, key, vectors)
    return ChunkedAdditive.apply(query, key, vectors)


def _fits(query: Tensor, key: Tensor) -> bool:
    """Whether exponentials of the pre-activations, and their products, are finite."""
    if query.numel() == 0 or key.numel() == 0:
        return False
    limit = LIMIT[query.dtype]
    lows_and_highs = [*torch.aminmax(query.detach()), *torch.aminmax(key.detach())]
    return all(abs(float(extreme)) <= limit for extreme in lows_and_highs)


class NativeAdditive(torch.autograd.Function):
    """The compiled kernel; keeps both exponentials, no larger than the inputs."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, energy: Tensor) -> Tensor:
        keys = key.shape[2]
        a = (query * 2).exp_().contiguous()  # batch x maps x queries x hidden
        b = F.pad((key * 2).exp_().mT, (0, -keys % native.LANES)).contiguous()  # hidden x keys
        energy = energy.contiguous()
        out = torch.empty(*a.shape[:3], b.shape[3], dtype=a.dtype)
        run = native.function("forward", a.dtype)
        arrays = [native.pointer(t) for t in (a, b, energy, out)]
        sizes = _sizes(a, b)
        native.run_all([partial(run, *arrays, *p, *sizes) for p in _parts(a, b)])
        ctx.save_for_backward(a, b, energy)
        ctx.keys = keys
        return out[..., :keys]

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grads: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        a, b, energy = ctx.saved_tensors
        grad = F.pad(grads[0], (0, b.shape[3] - ctx.keys)).contiguous()
        parts = list(_parts(a, b))
        dq = torch.zeros_like(a)
        dk = b.new_zeros(len(parts), *b.shape)  # each part its own: they may share keys
        dw = b.new_zeros(len(parts), *b.shape[:3])
        run = native.function("backward", a.dtype)
        read = [native.pointer(t) for t in (a, b, energy, grad)]
        sizes = _sizes(a, b)
        native.run_all(
            [
                partial(run, *read, *map(native.pointer, (dq, own_k, own_w)), *part, *sizes)
                for part, own_k, own_w in zip(parts, dk, dw, strict=True)
            ]
        )
        return dq, dk.sum(0)[..., : ctx.keys].mT, dw.sum((0, 1))


def _sizes(a: Tensor, b: Tensor) -> list[ctypes.c_long]:
    """maps, queries, keys, hidden: the last arguments of the compiled functions."""
    return [ctypes.c_long(n) for n in (a.shape[1], a.shape[2], b.shape[3], a.shape[3])]


def _parts(a: Tensor, b: Tensor) -> Iterator[tuple[ctypes.c_long, ...]]:
    problems, queries = a.shape[0] * a.shape[1], a.shape[2]
    for part in native.split_work(problems, queries, a.numel() * b.shape[3]):
        yield tuple(ctypes.c_long(n) for n in part)


class ChunkedAdditive(torch.autograd.Function):
    """The formula itself, a few queries at a time; the backward pass makes tanh once more."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, energy: Tensor) -> Tensor:
        ctx.save_for_backward(query, key, energy)
        rows = [
            (torch.tanh(q.unsqueeze(3) + key.unsqueeze(2)) @ energy[:, None, :, None]).squeeze(-1)
            for q in query.split(_rows_at_once(query, key), dim=2)
        ]
        return torch.cat(rows, dim=2)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grads: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        query, key, energy = ctx.saved_tensors
        at_once = _rows_at_once(query, key)
        dq, dk, dw = [], torch.zeros_like(key), torch.zeros_like(energy)
        pairs = zip(query.split(at_once, 2), grads[0].split(at_once, 2), strict=True)
        for q, grad in pairs:
            joined = torch.tanh(q.unsqueeze(3) + key.unsqueeze(2))  # b x m x rows x keys x hidden
            dw += torch.einsum("bmqk,bmqkd->md", grad, joined)
            slope = joined.square_().neg_().add_(1) * energy[:, None, None] * grad.unsqueeze(-1)
            dq.append(slope.sum(3))
            dk += slope.sum(2)
        return torch.cat(dq, dim=2), dk, dw


def _rows_at_once(query: Tensor, key: Tensor) -> int:
    per_row = query.shape[0] * query.shape[1] * key.shape[2] * key.shape[3]
    return max(1, CHUNK // max(per_row, 1))
