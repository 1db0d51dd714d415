"""torch's scaled_dot_product_attention, for every score that is an inner product at heart."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from attnlab.attention.call import Call, Kernel
from attnlab.attention.parts import repeat_groups


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
    """Broadcasts to batch x maps x queries x keys: True may look, or a bias with -inf."""
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
