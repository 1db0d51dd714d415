"""Which keys a query may attend to."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from attnlab.attention.call import Call
from attnlab.attention.mask import Causal, Pattern, Window
from attnlab.attention.parts import Normalize, Normalizer, Past, Shape, Structure
from attnlab.attention.rules import BigBird, Block, Dilated, Strided
from attnlab.attention.tensors import at_least_fp32, project_maps, safe_log


class Global(Structure):
    """Every key."""


class CausalStructure(Structure):
    """No key after the query."""

    def patterns(self) -> tuple[Pattern, ...]:
        return (Causal(),)


class _Patterned(Structure):
    """One rule over positions, whose settings are the structure's."""

    rule: ClassVar[type]

    def __init__(self, shape: Shape, **settings: Any) -> None:
        super().__init__(shape)
        self.pattern: Pattern = self.rule(**settings)

    def patterns(self) -> tuple[Pattern, ...]:
        return (self.pattern,)


class WindowStructure(_Patterned):
    """Keys near the query's own position (Luong et al. 2015, local-m; Beltagy, Peters, Cohan
    2020, "Longformer")."""

    rule = Window


class DilatedStructure(_Patterned):
    """Every n-th key of a window (Beltagy, Peters, Cohan 2020)."""

    rule = Dilated


class StridedStructure(_Patterned):
    """Near keys, and every n-th (Child et al. 2019, "Generating Long Sequences with Sparse
    Transformers")."""

    rule = Strided


class BlockStructure(_Patterned):
    """The query's own block and its neighbours (Qiu et al. 2020, "Blockwise Self-Attention")."""

    rule = Block


class BigBirdStructure(_Patterned):
    """Window, global and random blocks (Zaheer et al. 2020, "Big Bird")."""

    rule = BigBird


class Coverage(Structure):
    """Adds w times the sum of earlier maps to the logits, w learned for each map (Tu et al. 2016,
    "Modeling Coverage for NMT"; See, Liu, Manning 2017, "Get To The Point")."""

    def __init__(self, shape: Shape, *, initial: float) -> None:
        super().__init__(shape)
        self.weight = nn.Parameter(torch.full((shape.maps, 1, 1), initial))

    def step_bias(self, past: Past) -> Tensor:
        total = past.total.unsqueeze(2)  # batch x maps x 1 x keys
        return self.weight.to(total.dtype) * total


class LocalP(Structure):
    """p = S sigmoid(v.tanh(Wq)) of S keys; weights within `width` of p, times
    exp(-(j - p)^2 / 2 sigma^2) with sigma = width / 2 (Luong, Pham, Manning 2015, local-p).

    As in the paper weights are not normalized again: a row sums to at most one.
    """

    def __init__(self, shape: Shape, *, width: int) -> None:
        super().__init__(shape)
        self.width = width
        size = shape.query_width
        self.hidden = nn.Parameter(torch.randn(shape.maps, size, size) / math.sqrt(size))
        self.center = nn.Parameter(torch.randn(shape.maps, size, 1) / math.sqrt(size))

    def weights(self, call: Call, logits: Tensor, normalize: Normalize) -> Tensor:
        apart = self._apart(call)
        return normalize(logits, self._near(call, apart)) * self._log_factor(apart).exp()

    def log_weights(self, call: Call, logits: Tensor, normalizer: Normalizer) -> Tensor:
        apart = self._apart(call)
        near = self._near(call, apart)
        logs = normalizer.log(logits, near) + self._log_factor(apart)
        return logs.masked_fill(~near, math.log(torch.finfo(logs.dtype).tiny))  # as `safe_log`

    def _apart(self, call: Call) -> Tensor:
        """batch x maps x queries x keys: how far each key is from the predicted position."""
        heads = at_least_fp32(call.query_heads)
        hidden = torch.tanh(project_maps(heads, self.hidden))
        share = torch.sigmoid(project_maps(hidden, self.center))  # batch x maps x queries x 1
        valid = call.mask.keys
        length = call.keys if valid is None else valid.sum(1)[:, None, None, None]
        keys = torch.arange(call.keys, device=heads.device)
        return keys - share * length

    def _near(self, call: Call, apart: Tensor) -> Tensor:
        near = apart.detach().abs() <= self.width
        return near if call.allowed is None else near & call.allowed

    def _log_factor(self, apart: Tensor) -> Tensor:
        return -apart.square() / (2 * (self.width / 2) ** 2)


class Hierarchical(Structure):
    """weight_j = P(segment of j) P(j | its segment) (Yang et al. 2016, "Hierarchical Attention
    Networks for Document Classification").

    Keys are pooled within their segment by the score; the pooled keys are scored once more, by a
    query of that level (the query times a matrix). Segments are `mask.segments`, or runs of
    `segment` keys. What the paper puts between both levels, an encoder of sentences, is not part
    of an attention mechanism.
    """

    def __init__(self, shape: Shape, *, segment: int) -> None:
        super().__init__(shape)
        self.segment = segment
        eye = torch.eye(shape.query_width).repeat(shape.maps, 1, 1)
        self.upper = nn.Parameter(eye + 0.02 * torch.randn_like(eye))

    def weights(self, call: Call, logits: Tensor, normalize: Normalize) -> Tensor:
        slots, filled = self._slots(call)  # batch x segments x longest: keys, and where there are
        batch, maps, queries, _ = logits.shape
        _, segments, longest = slots.shape
        flat = slots.flatten(1)[:, None, None].expand(-1, maps, queries, -1)
        allowed = filled.flatten(1)[:, None, None].expand(-1, 1, queries, -1)
        if call.allowed is not None:
            by_mask = call.allowed.expand(batch, -1, queries, -1)
            allowed = allowed & by_mask.gather(-1, flat[:, : by_mask.shape[1]])
        inner = logits.gather(-1, flat).view(batch, maps, queries * segments, longest)
        open_ = allowed.reshape(batch, -1, queries * segments, longest)
        within = normalize(inner, open_).view(batch, maps, queries, segments, longest)
        picked = slots.flatten(1)[:, None, :, None]
        key = at_least_fp32(call.repeated_key)
        key = key.gather(2, picked.expand(-1, maps, -1, key.shape[-1])).unflatten(2, (segments, -1))
        pooled = torch.einsum("bmqsl,bmsld->bmqsd", within, key)
        # batch x 1 or maps x queries x segments
        there = allowed.unflatten(-1, (segments, longest)).any(-1)
        over = normalize(self._upper_logits(call, pooled), there)
        both = (within * over.unsqueeze(-1)).flatten(3)
        return torch.zeros_like(logits).scatter_add(-1, flat, both)

    def log_weights(self, call: Call, logits: Tensor, normalizer: Normalizer) -> Tensor:
        return safe_log(self.weights(call, logits, normalizer.expected))

    def _slots(self, call: Call) -> tuple[Tensor, Tensor]:
        """Which keys each segment has: batch x segments x longest, and where a slot is filled."""
        batch, keys, device = call.query.shape[0], call.keys, call.query.device
        position = torch.arange(keys, device=device).expand(batch, -1)
        segments = call.mask.segments  # batch x keys
        if segments is None:
            segments = position // self.segment
        count = int(segments.max()) + 1
        member = segments[:, :, None] == torch.arange(count, device=device)  # b x keys x segments
        rank = (member.cumsum(1) - 1).gather(2, segments[:, :, None])[..., 0]  # batch x keys
        shape = (batch, count, int(rank.max()) + 1)
        slot = (torch.arange(batch, device=device)[:, None], segments, rank)
        slots = torch.zeros(shape, dtype=torch.long, device=device)
        filled = torch.zeros(shape, dtype=torch.bool, device=device)
        slots[slot], filled[slot] = position, True
        return slots, filled

    def _upper_logits(self, call: Call, pooled: Tensor) -> Tensor:
        """Score pooled keys (batch x maps x queries x segments x width), each query its own."""
        score = call.parts.score
        heads = at_least_fp32(call.query_heads)
        query = at_least_fp32(score.prepare_query(project_maps(heads, self.upper)))
        batch, maps, queries, segments, width = pooled.shape
        flat = pooled.transpose(1, 2).reshape(batch * queries, maps, segments, width)
        alone = query.transpose(1, 2).reshape(batch * queries, maps, 1, query.shape[-1])
        logits = score(alone, flat)  # batch * queries x maps x 1 x segments
        return logits.view(batch, queries, maps, segments).transpose(1, 2)
