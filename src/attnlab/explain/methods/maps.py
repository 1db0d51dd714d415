"""What a model's maps say: as they are, followed through the layers, and weighed by gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from attnlab.attention.probes import Tap
from attnlab.errors import UserError
from attnlab.explain.methods.gradients import differentiable
from attnlab.explain.methods.network import Maps, Network, network
from attnlab.explain.methods.used import UsedMaps
from attnlab.explain.subject import Subject


@torch.no_grad()
def attention(subject: Subject) -> Tensor:
    """The map itself, the mean of its heads: batch x queries x keys."""
    with Tap(subject.model, subject.site) as tap:
        subject.outcomes()
    weights = subject.of_decisions(tap.weights().mean(1))
    if weights.shape != subject.cells.shape:
        raise UserError(
            f"task.map: {subject.site} looks at {weights.shape[2]} states from "
            f"{weights.shape[1]} places, not at the input's units for each decision; "
            "name the map that does"
        )
    return weights


@dataclass(frozen=True)
class Rollout:
    """Maps and residual connections weigh alike; rows sum to one (Abnar & Zuidema 2020)."""

    def around(self, weights: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
        whole = weights.sum(-1, keepdim=True) + 1
        return weights / whole, kept / whole

    def settled(self, relevance: Tensor) -> Tensor:
        return relevance


@dataclass(frozen=True)
class Relevance:
    """R grows by A R at every map (Chefer et al. 2021, ICCV, equations 5 to 10).

    Their cross-attention is also carried along what the queries had mixed before. In a decoder
    that sees only what came before, this would hand a row what later rows saw: it is left out.
    """

    def around(self, weights: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
        return weights, kept

    def settled(self, relevance: Tensor) -> Tensor:
        """What was mixed is brought to rows that sum to one, beside each state's own share."""
        eye = torch.eye(relevance.shape[-1], dtype=relevance.dtype, device=relevance.device)
        mixed = relevance - eye
        whole = mixed.sum(-1, keepdim=True)
        return torch.where(whole > 0, mixed / whole.clamp_min(1e-300), 0.0) + eye


def rollout(subject: Subject) -> Tensor:
    """Maps multiplied along the layers (Abnar & Zuidema 2020): batch x queries x keys."""
    found = rolled(subject).relevance(Rollout())
    return found / found.sum(-1, keepdim=True).clamp_min(1e-300)


@torch.no_grad()
def rolled(subject: Subject) -> Network:
    """The steps of rollout and of attention flow."""
    with UsedMaps(subject.model) as used:
        subject.outcomes()
    return network(subject, {site: m.mean(1) for site, m in used.maps().items()}, Rollout())


def chefer(subject: Subject) -> Tensor:
    """Maps weighed by their positive gradients: batch x queries x keys (Chefer et al. 2021)."""

    def weighed(weights: Tensor, slope: Tensor) -> Tensor:
        return (weights * slope).clamp_min(0).mean(1)

    def follow(maps: Maps) -> Tensor:
        return network(subject, maps, Relevance()).relevance(Relevance())

    return _by_decision(subject, weighed, follow)


def gmar(subject: Subject) -> Tensor:
    """Rollout in which a head counts by the size of its gradient (Jo et al. 2025, L1).

    batch x queries x keys.
    """

    def weighed(weights: Tensor, slope: Tensor) -> Tensor:
        size = slope.abs().sum((2, 3))  # batch x heads
        even = torch.full_like(size, 1 / size.shape[1])
        whole = size.sum(1, keepdim=True)
        share = torch.where(whole > 0, size / whole.clamp_min(1e-30), even)
        return (share[:, :, None, None] * weights).sum(1)

    def follow(maps: Maps) -> Tensor:
        found = network(subject, maps, Rollout()).relevance(Rollout())
        return found / found.sum(-1, keepdim=True).clamp_min(1e-300)

    return _by_decision(subject, weighed, follow)


def _by_decision(
    subject: Subject,
    weighed: Callable[[Tensor, Tensor], Tensor],
    follow: Callable[[Maps], Tensor],
) -> Tensor:
    """Weigh the maps by the gradient of one decision after the other, and follow them."""
    with differentiable(), UsedMaps(subject.model) as used:
        evidence = subject.evidence()
        maps = used.maps()
        rows: list[Tensor] = []
        for place, decision in enumerate(evidence.unbind(1)):
            slopes = used.slopes(decision.sum())
            brought = {s: weighed(maps[s].detach(), slopes[s]) for s in maps}
            rows.append(follow(brought)[:, place])
    return torch.stack(rows, 1)
