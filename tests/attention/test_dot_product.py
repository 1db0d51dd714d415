"""`DotProductCall`: statistics, compiled or by torch's operators, are those of the whole map."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from attnlab.attention import dot_product
from attnlab.attention.dot_product import DotProductCall
from attnlab.attention.kernels import native
from attnlab.attention.probes import of_weights

QUERIES, KEYS = 67, 83  # no multiples of what the kernel takes at once


def masks() -> dict[str, Tensor | None]:
    """One for each way in which keys may be forbidden; a query and an example see nothing."""
    random = torch.Generator().manual_seed(1)
    pairs = torch.rand(1, 1, QUERIES, KEYS, generator=random) > 0.3
    pairs[:, :, 5] = False
    padding = torch.arange(KEYS) < torch.tensor([[60], [0]])
    return {
        "none": None,
        "padding": padding[:, None, None],
        "pairs": pairs,
        "of each head": torch.rand(2, 4, QUERIES, KEYS, generator=random) > 0.3,
        "added": torch.randn(1, 4, QUERIES, KEYS, generator=random),
    }


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("mask", list(masks()))
def test_statistics_are_those_of_the_map(
    mask: str, causal: bool, dtype: torch.dtype, compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not compiled:
        monkeypatch.setattr(native, "library", lambda: None)
    monkeypatch.setattr(dot_product, "CPU_TILE", 2**13)  # several tiles
    torch.manual_seed(0)
    # As models give them: heads lie between positions. Two heads share keys.
    query = torch.randn(2, QUERIES, 4, 10, dtype=dtype).transpose(1, 2)
    key = torch.randn(2, KEYS, 2, 10, dtype=dtype).transpose(1, 2)
    start = None if causal else 16
    call = DotProductCall(query, key, 0.3, causal, masks()[mask], start=start)
    rows = torch.tensor([66, 3, 5, 64, 40])
    for some in (call, call.pick(rows)):
        weight = torch.rand(2, some.queries)
        figures = some.statistics(weight)
        expected = of_weights(some.weights(), some._positions() + (start or 0), weight)
        for name in ("entropy", "maximum", "distance", "received"):
            torch.testing.assert_close(
                getattr(figures, name), getattr(expected, name), atol=1e-4, rtol=1e-5, msg=name
            )
