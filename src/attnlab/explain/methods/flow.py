"""Attention flow: how much can run from a unit of the input to a decision."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import maximum_flow
from torch import Tensor

from attnlab.explain.methods.maps import rolled
from attnlab.explain.methods.network import Network
from attnlab.explain.subject import Subject

Matrix = npt.NDArray[np.float64]
Nodes = npt.NDArray[np.int_]
SCALE = 10**8  # capacities are whole numbers


def flow(subject: Subject) -> Tensor:
    """The largest flow through the layers, weights being capacities (Abnar & Zuidema 2020).

    Unlike in rollout, what meets at a state is not mixed in fixed shares. batch x queries x keys.
    """
    steps = rolled(subject)
    found = torch.zeros_like(subject.cells, dtype=torch.double)
    places = subject.cells.cpu().numpy()
    for i, real in enumerate(places):
        found[i] = torch.from_numpy(_flows(steps, i, real)).to(found)
    return found


def _flows(steps: Network, example: int, real: npt.NDArray[np.bool_]) -> Matrix:
    """One example: queries x keys."""
    if not steps.encoder and len(steps.readers) == 1:  # a single map: its weights are what flows
        return steps.readers[0][example].cpu().numpy() * real
    graph, top, bottom = _graph(steps, example)
    found = np.zeros(real.shape)
    for query, key in zip(*np.nonzero(real), strict=True):
        run = maximum_flow(graph, top[query], bottom[key])
        found[query, key] = run.flow_value / SCALE
    return found


def _graph(steps: Network, example: int) -> tuple[csr_array, Nodes, Nodes]:
    """States as nodes and steps as capacities downwards; the nodes of decisions and of units."""
    memory = steps.memory[example].cpu().numpy()
    level = np.arange(steps.states)
    bottom, count = level[memory], steps.states
    edges: list[tuple[Nodes, Nodes, Matrix]] = []
    for number, step in enumerate([*steps.encoder, *steps.readers]):
        weights = step[example].cpu().numpy()
        if number == len(steps.encoder):
            level = level[memory]
        new = weights.shape[1] - len(level)  # states of the text so far, which lead nowhere
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
