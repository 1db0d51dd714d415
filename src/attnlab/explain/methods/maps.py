"""Explanations from maps: as they are, through the layers, weighed by gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import maximum_flow
from torch import Tensor

from attnlab.attention.taps import Tap
from attnlab.errors import UserError
from attnlab.explain.methods.gradients import DifferentiableMaps, differentiable
from attnlab.explain.methods.map_stack import Maps, MapStack, map_stack
from attnlab.explain.subject import Subject

Matrix = npt.NDArray[np.float64]
Nodes = npt.NDArray[np.int_]
SCALE = 10**8  # capacities are whole numbers


@torch.no_grad()
def attention(subject: Subject) -> Tensor:
    """The map itself, the mean of its heads: batch x queries x keys."""
    with Tap(subject.model, subject.site) as tap:
        subject.outcomes()
    weights = subject.of_decisions(tap.weights().mean(1))
    if weights.shape != subject.cells.shape:
        raise UserError(
            f"task.map: {subject.site} has {weights.shape[1]} queries and {weights.shape[2]} keys, "
            "not the input's units as keys of each decision; name the map that has"
        )
    return weights


@dataclass(frozen=True)
class Rollout:
    """Maps and residual connections have equal weight; rows sum to one (Abnar & Zuidema 2020)."""

    def around(self, weights: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
        whole = weights.sum(-1, keepdim=True) + 1
        return weights / whole, kept / whole

    def normalized(self, relevance: Tensor) -> Tensor:
        return relevance


@dataclass(frozen=True)
class Relevance:
    """R grows by A R at every map (Chefer et al. 2021, ICCV, equations 5 to 10).

    They also carry cross-attention along what the queries had mixed before. In a causal decoder
    this would give a row what later rows saw: it is left out.
    """

    def around(self, weights: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
        return weights, kept

    def normalized(self, relevance: Tensor) -> Tensor:
        """Mixed parts as rows that sum to one, added to each state's own share."""
        eye = torch.eye(relevance.shape[-1], dtype=relevance.dtype, device=relevance.device)
        mixed = relevance - eye
        whole = mixed.sum(-1, keepdim=True)
        return torch.where(whole > 0, mixed / whole.clamp_min(1e-300), 0.0) + eye


def rollout(subject: Subject) -> Tensor:
    """Maps multiplied along the layers (Abnar & Zuidema 2020): batch x queries x keys."""
    return _rows_to_one(rollout_steps(subject).relevance(Rollout()))


@torch.no_grad()
def rollout_steps(subject: Subject) -> MapStack:
    """The layers of rollout and of attention flow."""
    with DifferentiableMaps(subject.model) as used:
        subject.outcomes()
    return map_stack(subject, {site: m.mean(1) for site, m in used.maps().items()}, Rollout())


def chefer(subject: Subject) -> Tensor:
    """Maps weighed by their positive gradients: batch x queries x keys (Chefer et al. 2021)."""

    def weighed(weights: Tensor, slope: Tensor) -> Tensor:
        return (weights * slope).clamp_min(0).mean(1)

    def follow(maps: Maps) -> Tensor:
        return map_stack(subject, maps, Relevance()).relevance(Relevance())

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
        return _rows_to_one(map_stack(subject, maps, Rollout()).relevance(Rollout()))

    return _by_decision(subject, weighed, follow)


def _by_decision(
    subject: Subject,
    weighed: Callable[[Tensor, Tensor], Tensor],
    follow: Callable[[Maps], Tensor],
) -> Tensor:
    """Weigh the maps by the gradient of each decision, and follow them to the input."""
    with differentiable(), DifferentiableMaps(subject.model) as used:
        evidence = subject.evidence()
        maps = used.maps()
        rows: list[Tensor] = []
        for number, decision in enumerate(evidence.unbind(1)):
            slopes = used.slopes(decision.sum())
            merged = {s: weighed(maps[s].detach(), slopes[s]) for s in maps}
            rows.append(follow(merged)[:, number])
    return torch.stack(rows, 1)


def _rows_to_one(relevance: Tensor) -> Tensor:
    return relevance / relevance.sum(-1, keepdim=True).clamp_min(1e-300)


def flow(subject: Subject) -> Tensor:
    """The maximum flow through the layers with weights as capacities (Abnar & Zuidema 2020).

    Unlike in rollout, flows that meet at a state do not mix in fixed shares.

    Returns:
        batch x queries x keys.
    """
    steps = rollout_steps(subject)
    flows = torch.zeros_like(subject.cells, dtype=torch.double)
    for i, real in enumerate(subject.cells.cpu().numpy()):
        flows[i] = torch.from_numpy(_flows(steps, i, real)).to(flows)
    return flows


def _flows(steps: MapStack, example: int, real: npt.NDArray[np.bool_]) -> Matrix:
    """One example: queries x keys."""
    if not steps.encoder and len(steps.readers) == 1:  # a single map: flows are its weights
        return steps.readers[0][example].cpu().numpy() * real
    graph, top, bottom = _graph(steps, example)
    flows = np.zeros(real.shape)
    for query, key in zip(*np.nonzero(real), strict=True):
        run = maximum_flow(graph, top[query], bottom[key])
        flows[query, key] = run.flow_value / SCALE
    return flows


def _graph(steps: MapStack, example: int) -> tuple[csr_array, Nodes, Nodes]:
    """States as nodes and steps as capacities downwards; the nodes of decisions and of units."""
    memory = steps.memory[example].cpu().numpy()
    level = np.arange(steps.states)
    bottom, count = level[memory], steps.states
    edges: list[tuple[Nodes, Nodes, Matrix]] = []
    for number, step in enumerate([*steps.encoder, *steps.readers]):
        weights = step[example].cpu().numpy()
        if number == len(steps.encoder):
            level = level[memory]
        new = weights.shape[1] - len(level)  # states of the text so far, which no flow leaves
        level = np.concatenate([np.arange(count, count + new), level])
        above = np.arange(count + new, count + new + weights.shape[0])
        rows, columns = np.nonzero(weights)
        edges.append((above[rows], level[columns], weights[rows, columns]))
        level, count = above, count + new + len(above)
    starts, ends, weights = (np.concatenate(column) for column in zip(*edges, strict=True))
    capacities = np.rint(weights * SCALE).astype(np.int32)
    graph = coo_array((capacities, (starts, ends)), shape=(count, count)).tocsr()
    graph.eliminate_zeros()
    return graph, level[: steps.queries], bottom
