"""Gradients against finite differences, and integrated ones against captum."""

from __future__ import annotations

import pytest
import torch

from attnlab.explain.methods import gradients
from tests.explain.subjects import CASES, subject


@pytest.mark.parametrize("case", CASES)
def test_gradient_input_is_the_slope_towards_what_is_seen(case: str) -> None:
    explained = subject(case)
    found = gradients.gradient_input(explained)
    seen, change, step = (
        explained.embedded.values,
        explained.embedded.values - explained.blank,
        1e-5,
    )
    for key in range(explained.keys.shape[1]):
        moved = torch.zeros_like(seen)
        moved[:, key] = step * change[:, key]
        with torch.no_grad():
            ends = explained.evidence(seen + moved) - explained.evidence(seen - moved)
        real = explained.cells[:, :, key]
        slope = (ends / (2 * step))[real]
        torch.testing.assert_close(found[:, :, key][real], slope, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("case", ["recurrent classify", "transformer generate", "picture"])
def test_integrated_gradients_are_captums(case: str) -> None:
    captum = pytest.importorskip("captum.attr")
    explained = subject(case)
    found = gradients.integrated_gradients(explained, steps=6)
    for query in range(explained.decisions.shape[1]):

        def log_odds(values: torch.Tensor, query: int = query) -> torch.Tensor:
            several = len(values) // len(explained)  # captum puts all steps side by side
            rows = torch.arange(len(explained)).repeat(several)
            return explained.select(rows).evidence(values)[:, query]

        theirs = captum.IntegratedGradients(log_odds).attribute(
            explained.embedded.values,
            baselines=explained.blank,
            n_steps=6,
            method="riemann_middle",
        )
        real = explained.cells[:, query]
        expected = theirs.sum(-1)[real]
        torch.testing.assert_close(found[:, query][real], expected, atol=1e-6, rtol=1e-6)


def test_integrated_gradients_sum_to_the_difference() -> None:
    explained = subject("transformer generate")
    found = gradients.integrated_gradients(explained, steps=400)
    ends = explained.evidence() - explained.evidence(explained.blank)
    real = explained.decisions
    total = (found * explained.cells).sum(-1)
    torch.testing.assert_close(total[real], ends[real], atol=1e-3, rtol=1e-3)
