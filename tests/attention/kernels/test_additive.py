"""Additive scores without the broadcast: right, small, and with a way round for every lack."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from attnlab.attention.kernels import additive, native
from attnlab.attention.kernels.additive import ChunkedAdditive, NativeAdditive, additive_scores
from attnlab.training.progress import PeakMemory
from tests.attention.mechanisms import attention, inputs, named

Run = Callable[[Tensor, Tensor, Tensor], Tensor]
needs_compiler = pytest.mark.skipif(native.library() is None, reason="there is no C compiler")
SHAPES = [
    (2, 3, 5, 7, 11),
    (1, 1, 1, 1, 1),
    (3, 1, 4, 16, 8),
    (1, 2, 130, 65, 32),
    (2, 4, 1, 80, 64),
]
WAYS = [
    pytest.param(NativeAdditive.apply, id="native", marks=needs_compiler),
    pytest.param(ChunkedAdditive.apply, id="chunked"),
]


def _naive(query: Tensor, key: Tensor, energy: Tensor) -> Tensor:
    joined = torch.tanh(query.unsqueeze(3) + key.unsqueeze(2))
    return (joined @ energy[:, None, :, None]).squeeze(-1)


def _draw(shape: tuple[int, ...], scale: float = 1.0) -> list[Tensor]:
    """Query, key, energy and the gradient that comes back, in float64."""
    batch, maps, queries, keys, hidden = shape
    torch.manual_seed(0)
    sizes = [(batch, maps, queries, hidden), (batch, maps, keys, hidden), (maps, hidden)]
    drawn = [torch.randn(size, dtype=torch.float64) for size in sizes]
    grad = torch.randn(batch, maps, queries, keys, dtype=torch.float64)
    return [drawn[0] * scale, drawn[1] * scale, drawn[2] / hidden**0.5, grad]


def _all(run: Run, drawn: list[Tensor], dtype: torch.dtype) -> list[Tensor]:
    """Scores and the three gradients."""
    leaves = [t.detach().clone().to(dtype).requires_grad_() for t in drawn[:3]]
    scores = run(*leaves)
    scores.backward(drawn[3].to(dtype))
    return [scores.detach(), *(leaf.grad for leaf in leaves)]


@pytest.mark.parametrize("run", WAYS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scores_and_gradients(run: Run, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    drawn = _draw(shape)
    expected = _all(_naive, drawn, torch.float64)
    found = _all(run, drawn, dtype)
    tight = dtype == torch.float64
    bounds = [1e-12] * 4 if tight else [1e-5, 1e-4, 1e-4, 1e-4]
    for one, other, bound in zip(found, expected, bounds, strict=True):
        torch.testing.assert_close(one.double(), other, atol=bound, rtol=bound)


@pytest.mark.parametrize("run", WAYS)
def test_gradcheck(run: Run) -> None:
    leaves = [t.requires_grad_() for t in _draw((2, 2, 3, 4, 5))[:3]]
    torch.autograd.gradcheck(run, leaves)


@pytest.mark.parametrize("scale", [1.0, 6.0, 15.0, 60.0, 1e4])
def test_large_activations_do_not_overflow(scale: float) -> None:
    """Beyond what exponentials can hold the loop takes over: finite and right at any size."""
    drawn = _draw((2, 2, 6, 7, 16), scale)
    expected = _all(_naive, drawn, torch.float64)
    found = _all(lambda q, k, w: additive_scores(q, k, w.unsqueeze(-1)), drawn, torch.float32)
    for one, other in zip(found, expected, strict=True):
        assert one.isfinite().all()
        torch.testing.assert_close(one.double(), other, atol=2e-5 * max(1, scale), rtol=1e-3)


def test_guard_tells_small_from_large() -> None:
    small = torch.full((1, 1, 2, 3), 19.0)
    assert additive._fits(small, -small)
    assert not additive._fits(small, small + 2)
    assert not additive._fits(small - 40, small)
    assert additive._fits(small.double() * 5, small.double())


def test_without_a_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No compiler on the path: the loop serves, with the same results."""
    query, key = inputs("cross")
    expected = attention(named("additive"))(query, key, key)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    native.library.cache_clear()
    try:
        assert native.library() is None
        found = attention(named("additive"))(query, key, key)
    finally:
        monkeypatch.undo()
        native.library.cache_clear()
    torch.testing.assert_close(found, expected)


@needs_compiler
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_share_problems_or_queries(threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for shape in [(1, 1, 130, 64, 64), (5, 1, 40, 64, 64)]:
            drawn = _draw(shape)
            found = _all(NativeAdditive.apply, drawn, torch.float64)
            for one, other in zip(found, _all(_naive, drawn, torch.float64), strict=True):
                torch.testing.assert_close(one, other, atol=1e-10, rtol=1e-10)
    finally:
        torch.set_num_threads(before)


def _peak_mib(run: Callable[[], object]) -> float:
    """How much more memory the process had at most while something ran (Linux)."""
    run()
    ctypes.CDLL(None).malloc_trim(0)  # what was freed goes back, so that it counts when taken again
    peak = PeakMemory(torch.device("cpu"))
    before = peak.mib()
    run()
    return peak.mib() - before


@needs_compiler
@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="needs Linux's /proc")
def test_memory_does_not_grow_with_the_hidden_width() -> None:
    """Forward and backward at 512 x 512, where the broadcast takes 64 and 256 MiB a tensor."""

    def peak(run: Run, hidden: int) -> float:
        drawn = [t.float() for t in _draw((1, 1, 512, 512, hidden))]
        return _peak_mib(lambda: _all(run, drawn, torch.float32))

    assert peak(_naive, 64) > 64  # the measure sees what it should
    assert max(peak(NativeAdditive.apply, hidden) for hidden in (64, 256)) < 12


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_adds_up_in_fp32(dtype: torch.dtype) -> None:
    """The only error is that of the rounded inputs."""
    mechanism = attention(named("additive")).to(dtype)
    query, key = (t.to(dtype) for t in inputs("cross"))
    call = mechanism.call(query, key)
    exact = _naive(call.query.double(), call.key.double(), mechanism.score.energy.double()[..., 0])
    assert call.logits.dtype == torch.float32
    torch.testing.assert_close(call.logits.double(), exact, atol=1e-6, rtol=1e-5)


INTERPRETED = """
import torch
from attnlab.attention.kernels.additive_triton import TritonAdditive
from tests.attention.kernels.test_additive import _all, _draw, _naive
for shape, scale in (((2, 2, 70, 33, 9), 1.0), ((1, 3, 5, 90, 4), 1.0), ((1, 2, 9, 8, 5), 30.0)):
    drawn = _draw(shape, scale)
    expected = _all(_naive, drawn, torch.float64)
    for one, other in zip(_all(TritonAdditive.apply, drawn, torch.float32), expected):
        torch.testing.assert_close(one.double(), other, atol=1e-4, rtol=1e-4)
low = _all(TritonAdditive.apply, drawn, torch.bfloat16)
assert low[0].dtype == torch.float32 and low[1].dtype == torch.bfloat16
print("agreed")
"""


def test_triton_kernel_through_its_interpreter() -> None:
    pytest.importorskip("triton")
    root = Path(__file__).parents[3]
    setting = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": f"{root}:{root / 'src'}"}
    command = [sys.executable, "-c", INTERPRETED]
    done = subprocess.run(command, capture_output=True, text=True, env=setting, check=False)
    assert done.stdout.strip() == "agreed", done.stderr


@pytest.mark.gpu
def test_triton_kernel_on_the_device() -> None:
    from attnlab.attention.kernels.additive_triton import TritonAdditive

    for shape, scale in (((2, 4, 512, 300, 64), 1.0), ((1, 2, 64, 64, 16), 30.0)):
        drawn = [t.cuda() for t in _draw(shape, scale)]
        expected = _all(_naive, drawn, torch.float64)
        found = _all(TritonAdditive.apply, drawn, torch.float32)
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one.double(), other, atol=1e-3, rtol=1e-3)
