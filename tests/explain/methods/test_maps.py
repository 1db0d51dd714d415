"""Maps followed through the layers, against recursions without block matrices and networkx."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import networkx
import numpy as np
import pytest
import torch
from torch import Tensor

from attnlab.attention.probes import Probe
from attnlab.attention.taps import Intervention, sites
from attnlab.config.compose import load
from attnlab.config.evaluation import Explain
from attnlab.errors import UserError
from attnlab.explain.methods import explained, maps, methods
from attnlab.explain.subject import Subject
from tests.explain.subjects import CASES, subject

RECURRENT = ["recurrent classify", "recurrent generate", "stepwise generate", "coverage generate"]


@cache
def settings() -> Explain:
    config, _ = load(["~experiment", "explain.samples=16", "explain.steps=3"])
    return config.explain


def own(explained_: Subject) -> dict[str, Tensor]:
    """All maps as probes see them: batch x heads x queries x keys."""
    with Probe(explained_.model, list(sites(explained_.model))) as probe:
        explained_.outcomes()
    return probe.maps()


def unit_rows(rows: Tensor) -> Tensor:
    return rows / rows.sum(-1, keepdim=True)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", settings().methods)
def test_every_method_explains_every_model(case: str, name: str) -> None:
    """Finite, zero in the padding, something where it is real, and the same in smaller batches."""
    whole = subject(case)
    method = methods(settings())[name]
    found = explained(method, whole)
    assert found.shape == whole.cells.shape
    assert found.isfinite().all()
    assert (found[~whole.cells] == 0).all()
    assert found.abs().sum() > 0
    if name not in ("lime", "shap"):  # which draw other variants
        alone = explained(method, whole.select(torch.tensor([1])))
        torch.testing.assert_close(alone[0], found[1], atol=1e-5, rtol=1e-4)


def test_one_signature() -> None:
    whole = subject("recurrent classify")
    method = methods(settings())["leave_one_out"]
    found = explained(method, whole)
    torch.testing.assert_close(found, explained(method, whole))


@pytest.mark.parametrize("case", RECURRENT)
def test_with_a_single_map_all_map_methods_are_that_map(case: str) -> None:
    whole = subject(case)
    map_ = maps.attention(whole) * whole.cells
    for method in (maps.rollout, maps.gmar, maps.flow):
        torch.testing.assert_close(method(whole) * whole.cells, map_, atol=1e-6, rtol=1e-6)


def test_a_map_over_something_else_is_refused() -> None:
    whole = subject("predicted")
    other = Subject.of(whole.model, whole.task, whole.batch, whole.batch.answer, "decoder.self.0")
    with pytest.raises(UserError, match=r"task.map: decoder.self.0 has"):
        maps.attention(other)


def test_rollout_of_an_encoder() -> None:
    whole = subject("transformer classify")
    seen = {site: m.mean(1) for site, m in own(whole).items()}
    eye = torch.eye(5, dtype=torch.double)
    first = unit_rows(seen["encoder.self.0"] + eye)
    second = unit_rows(seen["encoder.self.1"] + eye)
    expected = seen["pooling"] @ second @ first
    torch.testing.assert_close(maps.rollout(whole), unit_rows(expected), atol=1e-6, rtol=1e-6)


def through_decoder(
    seen: dict[str, Tensor],
    encoder: Tensor,
    around: Callable[[Tensor, Tensor, Tensor], Tensor],
) -> Tensor:
    """What the text's states take from the input, layer by layer: batch x queries x keys.

    `around(weights, brought, kept)` is a residual connection.
    """
    queries, keys = seen["decoder.cross.0"].shape[1:]
    relevance = torch.zeros(len(encoder), queries, keys, dtype=torch.double)
    for layer in (0, 1):
        own_, cross = seen[f"decoder.self.{layer}"], seen[f"decoder.cross.{layer}"]
        relevance = around(own_, own_ @ relevance, relevance)
        relevance = around(cross, cross @ encoder, relevance)
    return relevance


def test_rollout_of_a_decoder() -> None:
    whole = subject("transformer generate")
    seen = {site: m.mean(1) for site, m in own(whole).items()}
    eye = torch.eye(5, dtype=torch.double)
    encoder = unit_rows(seen["encoder.self.1"] + eye) @ unit_rows(seen["encoder.self.0"] + eye)

    def around(weights: Tensor, brought: Tensor, kept: Tensor) -> Tensor:
        return (brought + kept) / (weights.sum(-1, keepdim=True) + 1)

    expected = unit_rows(through_decoder(seen, encoder, around))
    torch.testing.assert_close(maps.rollout(whole), expected, atol=1e-6, rtol=1e-6)


def slopes(whole: Subject, query: int) -> dict[str, Tensor]:
    """The gradient of one decision with regard to every map, by finite differences."""
    found: dict[str, Tensor] = {}
    for site, map_ in own(whole).items():
        slope = torch.zeros_like(map_)
        for place in np.ndindex(*map_.shape[1:]):
            moved = torch.zeros_like(map_)
            moved[:, *place] = 1e-5
            ends: list[Tensor] = []
            for sign in (1, -1):
                with (
                    torch.no_grad(),
                    Intervention(whole.model, site, lambda w, _, m=moved, s=sign: w + s * m),
                ):
                    ends.append(whole.evidence()[:, query])
            slope[:, *place] = (ends[0] - ends[1]) / 2e-5
        found[site] = slope
    return found


def positive(map_: Tensor, slope: Tensor) -> Tensor:
    return (map_ * slope).clamp_min(0).mean(1)


def settled(relevance: Tensor) -> Tensor:
    eye = torch.eye(relevance.shape[-1], dtype=torch.double)
    return unit_rows(relevance - eye).nan_to_num(0.0) + eye  # nothing is mixed in the padding


def test_chefer_of_an_encoder() -> None:
    whole = subject("transformer classify", (4, 3, 4))
    slope = slopes(whole, 0)
    weighed = {site: positive(m, slope[site]) for site, m in own(whole).items()}
    relevance = torch.eye(4, dtype=torch.double).expand(3, 4, 4)
    for layer in (0, 1):
        relevance = relevance + weighed[f"encoder.self.{layer}"] @ relevance
    expected = weighed["pooling"] @ settled(relevance)
    torch.testing.assert_close(maps.chefer(whole), expected, atol=1e-6, rtol=1e-4)


def test_chefer_of_a_decoder() -> None:
    whole = subject("transformer generate", (3, 3))
    query = 1
    slope = slopes(whole, query)
    weighed = {site: positive(m, slope[site]) for site, m in own(whole).items()}
    encoder = torch.eye(3, dtype=torch.double).expand(2, 3, 3)
    for layer in (0, 1):
        encoder = encoder + weighed[f"encoder.self.{layer}"] @ encoder
    expected = through_decoder(weighed, settled(encoder), lambda _, brought, kept: brought + kept)
    found = maps.chefer(whole)
    torch.testing.assert_close(found[:, query], expected[:, query], atol=1e-6, rtol=1e-4)


def test_gmar_is_rollout_with_heads_weighed_by_their_gradients() -> None:
    whole = subject("transformer classify", (4, 4, 4))
    slope, eye = slopes(whole, 0), torch.eye(4, dtype=torch.double)
    seen: dict[str, Tensor] = {}
    for site, map_ in own(whole).items():
        share = slope[site].abs().sum((2, 3))
        share = share / share.sum(1, keepdim=True)
        seen[site] = torch.einsum("bh,bhqk->bqk", share, map_)
    first, second = (unit_rows(seen[f"encoder.self.{layer}"] + eye) for layer in (0, 1))
    expected = unit_rows(seen["pooling"] @ second @ first)
    torch.testing.assert_close(maps.gmar(whole), expected, atol=1e-6, rtol=1e-5)


def test_flow_is_networkxs() -> None:
    whole = subject("transformer generate", (4, 3))
    seen = {site: m.mean(1) for site, m in own(whole).items()}
    found = maps.flow(whole)
    for i, places in enumerate(whole.cells):
        graph = networkx.DiGraph()
        queries, keys = places.shape

        def step(above: str, below: str, weights: Tensor, divided: float, graph=graph) -> None:
            for (row, column), weight in np.ndenumerate(weights.numpy()):
                if weight > 0:
                    graph.add_edge((above, row), (below, column), capacity=weight / divided)

        own_half, half = torch.eye(queries).double(), 2.0
        for layer in (0, 1):
            both = seen[f"encoder.self.{layer}"][i] + torch.eye(keys).double()
            step(f"encoder {layer + 1}", f"encoder {layer}", both, half)
            both = seen[f"decoder.self.{layer}"][i] + own_half
            step(f"asked {layer}", f"text {layer}", both, half)
            step(f"text {layer + 1}", f"asked {layer}", own_half, half)
            step(f"text {layer + 1}", "encoder 2", seen[f"decoder.cross.{layer}"][i], half)
        for query, key in places.nonzero().tolist():
            ends = ("text 2", query), ("encoder 0", key)
            expected = networkx.maximum_flow_value(graph, *ends)
            assert found[i, query, key].item() == pytest.approx(expected, abs=1e-6)


def test_units_of_one_input_are_found_among_those_of_several() -> None:
    """The encoder reads both inputs as one sequence without padding in between."""
    whole = subject("text and question")
    seen = {site: m.mean(1) for site, m in own(whole).items()}
    found = maps.rollout(whole)
    eye = torch.eye(seen["encoder.self.0"].shape[-1], dtype=torch.double)
    first, second = (unit_rows(seen[f"encoder.self.{layer}"] + eye) for layer in (0, 1))
    for i, length in enumerate(whole.keys.sum(1).tolist()):
        question = 2 + i  # units of the question, which stands first
        text = slice(question, question + length)
        rolled = (second[i] @ first[i])[text, text]
        expected = seen["pooling"][i, :, :length] @ rolled
        torch.testing.assert_close(found[i, :, :length], unit_rows(expected), atol=1e-6, rtol=1e-6)
