"""Attention over segments, times attention within each."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from attnlab.attention.call import Call
from attnlab.attention.parts import Normalize, Normalizer, Shape, Structure, safe_log, wide


class Hierarchical(Structure):
    """weight_j = P(segment of j) P(j | its segment) (Yang et al. 2016, "Hierarchical Attention
    Networks for Document Classification").

    Keys are pooled within their segment by the score; the pooled keys are scored once more, by a
    query of that level's own (the query times a matrix). Segments are `mask.segments`, or runs of
    `segment` keys. What the paper puts between both levels, an encoder of sentences, is not part
    of an attention mechanism.
    """

    def __init__(self, shape: Shape, *, segment: int) -> None:
        super().__init__(shape)
        self.segment = segment
        eye = torch.eye(shape.query_width).repeat(shape.maps, 1, 1)
        self.upper = nn.Parameter(eye + 0.02 * torch.randn_like(eye))

    def weigh(self, call: Call, logits: Tensor, normalize: Normalize) -> Tensor:
        member = self._members(call)  # batch or 1 x segments x keys
        everywhere = torch.ones((1, 1, 1, 1), dtype=torch.bool, device=logits.device)
        allowed = everywhere if call.allowed is None else call.allowed
        inner, filled = torch.zeros_like(logits), []
        pooled = []
        for index in range(member.shape[1]):
            here = allowed & member[:, None, None, index]  # batch x 1 x queries x keys
            within = normalize(logits, here)
            inner = inner + within
            filled.append(here.any(-1, keepdim=True))
            pooled.append(within @ wide(call.spread_key))  # batch x maps x queries x width
        upper = self._upper_logits(call, torch.stack(pooled, dim=3))
        over = normalize(upper, torch.cat(filled, dim=-1))  # batch x maps x queries x segments
        return inner * (over @ member[:, None].to(over.dtype))

    def weigh_log(self, call: Call, logits: Tensor, normalizer: Normalizer) -> Tensor:
        return safe_log(self.weigh(call, logits, normalizer.settled))

    def _members(self, call: Call) -> Tensor:
        """batch or 1 x segments x keys: True where a key is in a segment."""
        segments = call.mask.segments
        if segments is None:
            segments = torch.arange(call.keys, device=call.query.device)[None] // self.segment
        count = int(segments.max()) + 1
        numbers = torch.arange(count, device=segments.device)[None, :, None]
        return segments[:, None] == numbers

    def _upper_logits(self, call: Call, pooled: Tensor) -> Tensor:
        """Score pooled keys (batch x maps x queries x segments x width), each query its own."""
        score = call.attention.score
        asked = wide(call.asked)
        query = wide(score.prepare_query(asked @ self.upper.to(asked.dtype)))
        batch, maps, queries, segments, width = pooled.shape
        flat = pooled.transpose(1, 2).reshape(batch * queries, maps, segments, width)
        alone = query.transpose(1, 2).reshape(batch * queries, maps, 1, query.shape[-1])
        logits = score(alone, flat)  # batch * queries x maps x 1 x segments
        return logits.view(batch, queries, maps, segments).transpose(1, 2)
