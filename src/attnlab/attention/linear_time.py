"""Attention in time linear in the length: without the queries x keys matrix.

Scores phi(q).phi(k) of features that are never negative, divided by their sum
(`normalizer=proportion`), are weights, and because sum_j phi(q).phi(k_j) v_j =
phi(q).(sum_j phi(k_j) v_j'), values can be summed by keys first. Nystrom attention goes through a
few landmarks. The kernels here serve both.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from attnlab.attention.call import Call, Kernel
from attnlab.attention.mask import Causal, Mask
from attnlab.attention.normalizers import mask_logits
from attnlab.attention.parts import Normalize, Normalizer, Score, Shape, Structure
from attnlab.attention.scores import Dot
from attnlab.attention.tensors import at_least_fp32, full_precision, repeat_groups, safe_log
from attnlab.errors import UserError

CHUNK = 64  # queries whose own chunk is done by an explicit map; measured best from 32 to 128


class Features(Score):
    """phi(q).phi(k); a subclass says what phi is."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        Dot(shape)  # both sides have the same features

    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        return query @ key.transpose(-1, -2)  # batch x maps x queries x keys


class Elu(Features):
    """phi(x) = elu(x) + 1 (Katharopoulos et al. 2020, "Transformers are RNNs")."""

    def prepare_query(self, query: Tensor) -> Tensor:
        return F.elu(query) + 1

    def prepare_key(self, key: Tensor, mask: Mask) -> Tensor:
        return F.elu(key) + 1


class Relu(Features):
    """phi(x) = relu(x), which `position=cosine` weighs by distance (Qin et al. 2022,
    "cosFormer")."""

    def prepare_query(self, query: Tensor) -> Tensor:
        return F.relu(query)

    def prepare_key(self, key: Tensor, mask: Mask) -> Tensor:
        return F.relu(key)


class Performer(Features):
    """phi(x) = exp(Wx - |x|^2 / 2) with orthogonal random rows in W, so that phi(q).phi(k) is on
    average exp(q.k / sqrt(d)) (Choromanski et al. 2021, "Rethinking Attention with Performers").
    """

    projection: Tensor

    def __init__(self, shape: Shape, *, features: int) -> None:
        super().__init__(shape)
        self.register_buffer("projection", _orthogonal(features, shape.query_width))

    def prepare_query(self, query: Tensor) -> Tensor:
        exponent = self._exponent(query)  # a factor common to a row cancels in its proportions
        return (exponent - exponent.amax(-1, keepdim=True).detach()).exp()

    def prepare_key(self, key: Tensor, mask: Mask) -> Tensor:
        return self._exponent(key).clamp_max(60).exp()  # at most |w|^2 / 2, about d / 2

    def _exponent(self, x: Tensor) -> Tensor:
        x = at_least_fp32(x) / self.shape.query_width**0.25
        return x @ self.projection.to(x.dtype).T - x.square().sum(-1, keepdim=True) / 2


def _orthogonal(rows: int, width: int) -> Tensor:
    """rows x width: blocks of orthogonal rows, as long as Gaussian ones would be."""
    blocks = [torch.linalg.qr(torch.randn(width, width))[0] for _ in range(-(-rows // width))]
    lengths = torch.randn(rows, width).norm(dim=1, keepdim=True)
    return torch.cat(blocks)[:rows] * lengths


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


class LinearKernel(Kernel):
    """Scores of features: phi(q).(sum phi(k) v') / phi(q).(sum phi(k))."""

    fused = True

    def obstacle(self, call: Call) -> str | None:
        if call.mask.custom is not None:
            return "a custom mask"
        if set(call.mask.rules) - {Causal()}:
            return "a rule over positions other than a causal mask"
        if call.mask.rules and not call.last_queries:
            return "a causal mask where queries and keys do not end at one position"
        return None

    def context(self, call: Call) -> Tensor:
        with full_precision(call.query):
            value = call.present_value
            query, key = at_least_fp32(call.query), at_least_fp32(call.repeated_key)
            if call.mask.keys is not None:
                key = key.masked_fill(~call.mask.keys[:, None, :, None], 0)
            wide = at_least_fp32(repeat_groups(value, query.shape[1]))
            counted = torch.cat([wide, torch.ones_like(wide[..., :1])], dim=-1)
            if call.mask.rules:
                total = _causal(query, key, counted, call.start)
            else:
                total = query @ (key.mT @ counted)
            context, mass = total[..., :-1], total[..., -1:]
            return (context / mass.masked_fill(mass == 0, 1)).to(value.dtype)


def _causal(query: Tensor, key: Tensor, value: Tensor, start: int) -> Tensor:
    """Each query sums over the keys up to its own: chunk by chunk, with a running sum.

    Query 0 is at the position of key `start`; all queries sum over the keys before it.
    """
    memory = key[:, :, :start].mT @ value[:, :, :start]  # batch x maps x width x value width
    key, value = key[:, :, start:], value[:, :, start:]
    sums = []
    for q, k, v in zip(
        query.split(CHUNK, 2), key.split(CHUNK, 2), value.split(CHUNK, 2), strict=True
    ):
        sums.append(q @ memory + (q @ k.mT).tril() @ v)
        memory = memory + k.mT @ v
    return torch.cat(sums, dim=2)


class NystromKernel(Kernel):
    """Landmark attention: left @ (middle @ (right @ value)), three thin products."""

    fused = True

    def context(self, call: Call) -> Tensor:
        structure = call.parts.structure
        if not isinstance(structure, Nystrom):
            raise TypeError("the nystrom kernel serves attention/structure=nystrom")
        with full_precision(call.query):
            factors = structure.factors(call)
            value = at_least_fp32(repeat_groups(call.present_value, call.query.shape[1]))
            context = factors.left @ (factors.middle @ (factors.right @ value))
            return context.to(call.present_value.dtype)
