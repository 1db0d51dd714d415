"""torch's fused kernels: `scaled_dot_product_attention`, and FlexAttention for rules on CUDA."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from attnlab.attention.blocks import blocks_of, real_blocks
from attnlab.attention.call import Call, Kernel
from attnlab.attention.mask import Mask
from attnlab.attention.tensors import repeat_groups

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask

SIZE = 128  # positions of a block: what the compiled kernels go by
MaskRule = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


class Sdpa(Kernel):
    """The score has made one side or both such that q.k is the logit."""

    fused = True

    def worthwhile(self, call: Call) -> bool:
        """On a CPU its path that drops weights is slower than the reference."""
        return not (call.dropout and call.query.device.type == "cpu")

    def context(self, call: Call) -> Tensor:
        parts, query, key = call.parts, call.query, call.repeated_key
        value = repeat_groups(call.present_value, query.shape[1])
        width = value.shape[-1]
        causal = call.mask.only_causal and call.from_start and call.position_bias is None
        mask = None if causal else _mask(call)
        extra = parts.normalizer.extra_logit()
        if extra is not None:
            mask = call.mask.bias(call.positions, call.keys, query.dtype) if causal else mask
            query, key, value, mask = _with_sink(call, extra, query, key, value, mask)
            causal = False
        query, key, value = _same_width(query, key, value)
        contexts = F.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=mask,
            is_causal=causal,
            scale=parts.score.scale,
            dropout_p=call.dropout,
        )
        return parts.heads.mix_contexts(contexts[..., :width])


def _mask(call: Call) -> Tensor | None:
    """Broadcasts to batch x maps x queries x keys: True may attend, or a bias with -inf."""
    bias = call.position_bias
    if bias is None:
        return call.allowed
    bias = bias.to(call.query.dtype)
    return bias if call.allowed is None else bias.masked_fill(~call.allowed, float("-inf"))


def _with_sink(
    call: Call, extra: Tensor, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """One more key, which has the logit `extra` for every query and no value."""
    batch, maps, queries, _ = query.shape
    column = extra.to(query).expand(maps)[None, :, None, None] / call.parts.score.scale
    key = F.pad(key, (0, 1))  # batch x maps x keys x width + 1
    sink = torch.cat(
        [key.new_zeros(batch, maps, 1, key.shape[-1] - 1), column.expand(batch, -1, -1, -1)], -1
    )
    query = torch.cat([query, query.new_ones(batch, maps, queries, 1)], dim=-1)
    if mask is not None:
        mask = F.pad(mask, (0, 1), value=True if mask.dtype == torch.bool else 0.0)
    return query, torch.cat([key, sink], dim=2), F.pad(value, (0, 0, 0, 1)), mask


def _same_width(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Fused backends want one width for all three; zeros change neither logits nor contexts."""
    width = max(query.shape[-1], value.shape[-1])
    return _padded(query, width), _padded(key, width), _padded(value, width)


def _padded(tensor: Tensor, width: int) -> Tensor:
    missing = width - tensor.shape[-1]
    return F.pad(tensor, (0, missing)) if missing else tensor


class Flex(Kernel):
    """Patterns and padding become a block mask; position biases are left to SDPA."""

    fused = True

    def obstacle(self, call: Call) -> str | None:
        if call.mask.custom is not None:
            return "a custom mask"
        if call.position_bias is not None:
            return "a bias on the logits"
        if call.parts.normalizer.extra_logit() is not None:
            return "a normalizer with a sink"
        if call.row_positions is not None:
            return "queries picked from a longer call"
        return None

    def worthwhile(self, call: Call) -> bool:
        """Where there are rules over positions besides a causal mask, and for all queries at once
        (each step of decoding would make a block mask of its own)."""
        return bool(call.mask.rules) and not call.mask.only_causal and call.from_start

    def context(self, call: Call) -> Tensor:
        from torch.nn.attention.flex_attention import flex_attention  # costs a second to import

        run = _compiled() if call.query.is_cuda else flex_attention
        contexts = run(
            call.query.contiguous(),
            call.repeated_key.contiguous(),
            repeat_groups(call.present_value, call.query.shape[1]).contiguous(),
            block_mask=block_mask(call),
            scale=call.parts.score.scale,
        )
        if not isinstance(contexts, Tensor):
            raise TypeError("flex_attention was asked for contexts alone")
        return call.parts.heads.mix_contexts(contexts)


def mask_rule(mask: Mask, start: int = 0) -> MaskRule:
    """The kernel lowering of a mask: True where a query may attend, one pair at a time."""

    def allows(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        allowed = query >= 0 if mask.keys is None else mask.keys[batch, key]
        for rule in mask.rules:
            allowed = allowed & rule.allows(query + start, key)
        if mask.custom is not None:
            shape = mask.custom.shape
            index = [
                i if n > 1 else i * 0 for i, n in zip((batch, head, query, key), shape, strict=True)
            ]
            allowed = allowed & mask.custom[tuple(index)]
        return allowed

    return allows


def block_mask(call: Call) -> BlockMask:
    """The key blocks that each query block reads; the mask is evaluated inside partial ones."""
    from torch.nn.attention.flex_attention import BlockMask

    mask, device = call.mask, call.query.device
    sides = (call.start, call.queries, call.keys)
    (blocks,) = blocks_of(mask, *sides, SIZE, device, ordered=False)
    listed, full = blocks.read()
    if mask.keys is not None:
        real = real_blocks(mask.keys, SIZE)[:, None, None]  # batch x 1 x 1 x key blocks
        listed, full = listed & (real > 0), full & (real == 2)
    return BlockMask.from_kv_blocks(
        *_in_front(listed & ~full),
        *_in_front(full),
        BLOCK_SIZE=SIZE,
        mask_mod=mask_rule(mask, call.start),
        seq_lengths=(call.queries, call.keys),
    )


def _in_front(listed: Tensor) -> tuple[Tensor, Tensor]:
    """How many key blocks each query block reads, and all key blocks with those in front."""
    order = listed.int().argsort(dim=-1, descending=True, stable=True)
    return listed.sum(-1).int(), order.int()


@functools.cache
def _compiled() -> Callable[..., Tensor]:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=True)
