"""Attention flow: the maximum flow from a unit of the input to a decision."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import maximum_flow
from torch import Tensor

from attnlab.explain.methods.map_stack import MapStack
from attnlab.explain.methods.maps import rollout_steps
from attnlab.explain.subject import Subject

Matrix = npt.NDArray[np.float64]
Nodes = npt.NDArray[np.int_]
SCALE = 10**8  # capacities are whole numbers


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
