"""FlexAttention, for masks by rule on CUDA: blocks that no query may see are not computed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from attnlab.attention.call import Call
from attnlab.attention.kernels.reference import Reference
from attnlab.attention.mask import Mask, Pattern
from attnlab.attention.parts import spread

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask

MaskRule = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


class Flex(Reference):
    """Patterns and padding become a block mask; position biases are left to SDPA."""

    fused = True

    def can(self, call: Call) -> bool:
        """Worth it where there are rules over positions; forms of softmax with a sink are not."""
        rules = bool(call.mask.rules) and not call.mask.only_causal
        simple = call.mask.custom is None and call.attention.normalizer.extra_logit() is None
        return rules and simple and call.from_start and not _drops(call)

    def context(self, call: Call) -> Tensor:
        if call.value is None:
            raise ValueError("a call that was made for maps alone has no values")
        from torch.nn.attention.flex_attention import flex_attention  # costs a second to import

        maps = call.query.shape[1]
        run = _compiled() if call.query.is_cuda else flex_attention
        contexts = run(
            call.query.contiguous(),
            call.spread_key.contiguous(),
            spread(call.value, maps).contiguous(),
            block_mask=_block_mask(call),
            scale=call.attention.score.scale,
        )
        if not isinstance(contexts, Tensor):
            raise TypeError("flex_attention was asked for contexts alone")
        return call.attention.heads.mix_contexts(contexts)


def _drops(call: Call) -> bool:
    return call.attention.training and call.attention.dropout > 0


def mask_rule(mask: Mask, start: int = 0) -> MaskRule:
    """The kernel lowering of a mask: True where a query may look, one pair at a time."""

    def allows(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        seen = query >= 0 if mask.keys is None else mask.keys[batch, key]
        for rule in mask.rules:
            seen = seen & rule.allows(query + start, key)
        if mask.custom is not None:
            shape = mask.custom.shape
            place = [
                i if n > 1 else i * 0 for i, n in zip((batch, head, query, key), shape, strict=True)
            ]
            seen = seen & mask.custom[tuple(place)]
        return seen

    return allows


def _block_mask(call: Call) -> BlockMask:
    from torch.nn.attention.flex_attention import create_block_mask

    device = call.query.device
    if call.mask.keys is None:
        return _rules_alone(call.mask.rules, call.queries, call.keys, device)
    batch = call.query.shape[0]
    return create_block_mask(
        mask_rule(call.mask), batch, None, call.queries, call.keys, device=device
    )


@functools.lru_cache(maxsize=64)
def _rules_alone(
    rules: tuple[Pattern, ...], queries: int, keys: int, device: torch.device
) -> BlockMask:
    """Block masks of rules alone are the same from step to step."""
    from torch.nn.attention.flex_attention import create_block_mask

    rule = mask_rule(Mask(patterns=rules))
    return create_block_mask(rule, None, None, queries, keys, device=device)


@functools.cache
def _compiled() -> Callable[..., Tensor]:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=True)
