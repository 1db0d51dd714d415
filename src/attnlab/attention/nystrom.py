"""Softmax attention through a few landmarks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from attnlab.attention.call import Call
from attnlab.attention.normalizers import mask_logits
from attnlab.attention.parts import Normalize, Normalizer, Shape, Structure, at_least_fp32, safe_log
from attnlab.errors import UserError


@dataclass(frozen=True)
class Factors:
    """The map as three factors: left @ middle @ right."""

    left: Tensor  # batch x maps x queries x landmarks
    middle: Tensor  # batch x maps x landmarks x landmarks
    right: Tensor  # batch x maps x landmarks x keys


class Nystrom(Structure):
    """softmax(QK~') pinv(softmax(Q~K~')) softmax(Q~K'), with Q~ and K~ means of runs of queries
    and keys (Xiong et al. 2021, "Nystromformer"). Weights may be slightly negative.

    With at least as many landmarks as keys every key is its own landmark. Queries and keys are of
    one sequence.
    """

    def __init__(self, shape: Shape, *, landmarks: int) -> None:
        super().__init__(shape)
        self.landmarks = landmarks

    def weights(self, call: Call, logits: Tensor, normalize: Normalize) -> Tensor:
        factors = self.factors(call)
        weights = factors.left @ factors.middle @ factors.right
        return weights if call.allowed is None else weights.masked_fill(~call.allowed, 0)

    def log_weights(self, call: Call, logits: Tensor, normalizer: Normalizer) -> Tensor:
        return safe_log(self.weights(call, logits, normalizer.expected))

    def factors(self, call: Call) -> Factors:
        """The three factors of a call's map."""
        if call.mask.rules or call.mask.custom is not None:
            raise UserError(
                "attention/structure=nystrom cannot hide single keys from single queries (a causal "
                "mask, say), only padding; attention=linear can"
            )
        whole = call.whole or call
        scale = call.parts.score.scale
        key, queries = at_least_fp32(call.repeated_key), at_least_fp32(whole.query) * scale
        valid = call.mask.keys
        ones = torch.ones(1, call.keys, dtype=torch.bool, device=key.device)
        member = _runs(ones if valid is None else valid, self.landmarks, key.dtype)
        key_means, query_means = member @ key, member @ queries  # b x maps x landmarks x width
        filled = member.any(-1)[:, :, None, :]  # batch x 1 x 1 x landmarks
        left = _softmax(at_least_fp32(call.query) * scale @ key_means.mT, filled)
        middle = _softmax(query_means @ key_means.mT, filled) * filled.mT
        right = _softmax(query_means @ key.mT, None if valid is None else valid[:, None, None])
        return Factors(left, _pseudo_inverse(middle), right * filled.mT)


def _runs(valid: Tensor, count: int, dtype: torch.dtype) -> Tensor:
    """batch x 1 x landmarks x length: the share of each position in the mean of its run.

    Runs divide the valid positions (batch x length) evenly; landmarks to spare stay empty.
    """
    rank = valid.cumsum(1) - 1
    total = valid.sum(1, keepdim=True)
    run = torch.where(total > count, rank * count // total.clamp_min(1), rank)
    number = torch.arange(count, device=valid.device)[None, :, None]
    member = ((run[:, None] == number) & valid[:, None]).to(dtype)
    return (member / member.sum(-1, keepdim=True).clamp_min(1))[:, None]


def _softmax(logits: Tensor, allowed: Tensor | None) -> Tensor:
    if allowed is None:
        return logits.softmax(-1)
    return mask_logits(logits, allowed.expand(logits.shape)).softmax(-1).masked_fill(~allowed, 0)


def _pseudo_inverse(matrix: Tensor, steps: int = 6) -> Tensor:
    """The paper's iteration (equation 11), of third order, from a start that makes it converge."""
    eye = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    rows = matrix.abs().sum(-1).amax(-1)[..., None, None]
    columns = matrix.abs().sum(-2).amax(-1)[..., None, None]
    inverse = matrix.mT / (rows * columns).clamp_min(torch.finfo(matrix.dtype).tiny)
    for _ in range(steps):
        product = matrix @ inverse
        inner = 7 * eye - product
        inverse = 0.25 * inverse @ (13 * eye - product @ (15 * eye - product @ inner))
    return inverse
