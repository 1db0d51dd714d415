"""The kernels of attention: additive without the broadcast, the scaled-dot route, the dispatch.

python -m benchmarks.attention                    # all, some ten minutes on two cores
python -m benchmarks.attention additive route     # some: additive, long, route, dispatch, probes
"""

from __future__ import annotations

import ctypes
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attnlab.attention.kernels.additive import additive_scores
from attnlab.attention.kernels.measure import HEADS, WIDTH, mechanism
from attnlab.attention.mask import Mask
from attnlab.attention.mechanism import Attention
from attnlab.attention.probes import Probe
from attnlab.training.progress import PeakMemory
from benchmarks.results import record, run_sections

COMMAND = "python -m benchmarks.attention"
DIM = HEADS * WIDTH


def paired(
    runs: Sequence[Callable[[], object]], seconds: float, least: int = 5
) -> list[list[float]]:
    """Milliseconds of each run in turn, round after round: rounds x runs."""
    for run in runs:
        run()
    rounds: list[list[float]] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(rounds) < least:
        times = []
        for run in runs:
            began = time.perf_counter()
            run()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            times.append((time.perf_counter() - began) * 1e3)
        rounds.append(times)
    return rounds


def ratio(rounds: list[list[float]], one: int, other: int) -> float:
    """The median over rounds of one run's time over another's."""
    return statistics.median(times[one] / times[other] for times in rounds)


def median(rounds: list[list[float]], run: int) -> float:
    return statistics.median(times[run] for times in rounds)


def peak_mib(run: Callable[[], object]) -> float:
    """How much memory a run takes at most beyond what is there before (Linux)."""
    run()
    ctypes.CDLL(None).malloc_trim(0)  # what was freed goes back, so that it counts when taken again
    peak = PeakMemory(torch.device("cpu"))
    before = peak.mib()
    run()
    return max(0.0, peak.mib() - before)


def circumstances() -> str:
    """The first words under a table."""
    return f"Forward and backward, threads: {torch.get_num_threads()}."


def naive(query: Tensor, key: Tensor, energy: Tensor) -> Tensor:
    """The formula as it is usually written: batch x maps x queries x keys x hidden."""
    joined = torch.tanh(query.unsqueeze(3) + key.unsqueeze(2))
    return (joined @ energy.unsqueeze(1)).squeeze(-1)


def scores_and_gradients(
    scores: Callable[[Tensor, Tensor, Tensor], Tensor], leaves: Sequence[Tensor], grad: Tensor
) -> list[Tensor]:
    """The scores of an additive attention, and their gradients."""
    for leaf in leaves:
        leaf.grad = None
    made = scores(*leaves)
    made.backward(grad.to(made.dtype))
    return [made.detach(), *(leaf.grad for leaf in leaves if leaf.grad is not None)]


def additive() -> None:
    """Against naive broadcast and torch.compile of it: time, memory, error."""
    lines = [
        "| batch, heads, length, width | naive ms | compiled naive ms | ours ms | ours / naive "
        "| ours / compiled | naive MiB | ours MiB | score error | gradient error |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for shape in ((1, 4, 1024, 64), (2, 4, 512, 64), (8, 1, 64, 256)):
        torch._dynamo.reset()
        lines.append(_additive_row(shape, torch.compile(naive)))
    note = f"{circumstances()} Memory is the peak beyond the inputs; errors against float64."
    record("additive", "Additive scores", f"{COMMAND} additive", lines, note=note)


def _additive_row(shape: tuple[int, int, int, int], compiled: Callable[..., Tensor]) -> str:
    batch, maps, length, width = shape
    torch.manual_seed(0)
    side = (batch, maps, length, width)
    leaves = [torch.randn(side), torch.randn(side), torch.randn(maps, width, 1) / width**0.5]
    leaves = [leaf.requires_grad_() for leaf in leaves]
    grad = torch.randn(batch, maps, length, length) / length
    ways = (naive, compiled, additive_scores)
    runs = [lambda way=way: scores_and_gradients(way, leaves, grad) for way in ways]
    rounds = paired(runs, seconds=20, least=3)
    memory = [peak_mib(runs[0]), peak_mib(runs[2])]
    found = [t.clone().double() for t in runs[2]()]
    exact = [leaf.detach().double().requires_grad_() for leaf in leaves]
    expected = scores_and_gradients(additive_scores, exact, grad)
    error = [(one - other).abs().max().item() for one, other in zip(found, expected, strict=True)]
    cells = [
        *(f"{median(rounds, run):.0f}" for run in range(3)),
        f"{ratio(rounds, 2, 0):.3f}",
        f"{ratio(rounds, 2, 1):.3f}",
        *(f"{mib:.0f}" for mib in memory),
        f"{error[0]:.0e}",
        f"{max(error[1:]):.0e}",
    ]
    return f"| {', '.join(map(str, shape))} | " + " | ".join(cells) + " |"


def long() -> None:
    """Length 4,096, where the broadcast alone would take 16 GiB, and its backward pass more."""
    side = (1, 4, 4096, 64)
    leaves = [torch.randn(side), torch.randn(side), torch.randn(4, 64, 1) / 8]
    leaves = [leaf.requires_grad_() for leaf in leaves]
    grad = torch.randn(1, 4, 4096, 4096) / 4096
    run = lambda: scores_and_gradients(additive_scores, leaves, grad)  # noqa: E731
    broadcast = grad.numel() * 64 * 4 // 2**20
    memory, rounds = peak_mib(run), paired([run], seconds=0, least=3)
    lines = [
        "| batch, heads, length, width | ms | peak MiB | one tensor of the broadcast, MiB |",
        "|---|---|---|---|",
        f"| 1, 4, 4096, 64 | {median(rounds, 0):.0f} | {memory:.0f} | {broadcast} |",
    ]
    title = "Additive scores of long inputs"
    record("additive-long", title, f"{COMMAND} long", lines, note=circumstances())


def route() -> None:
    """The whole multi-head mechanism beside hand-written projections and bare SDPA."""
    lines = [
        "| length | mask | bare ms | ours ms | ratio (target at most 1.05) |",
        "|---|---|---|---|---|",
    ]
    for length in (128, 512, 2048):
        batch = max(1, 1024 // length)
        valid = torch.arange(length) < torch.full((batch, 1), length * 3 // 4)
        lines += [
            _route_row("none", length, batch, Mask()),
            _route_row("padding", length, batch, Mask(keys=valid)),
            _route_row("causal", length, batch, Mask(causal=True)),
            _route_row("padding and causal", length, batch, Mask(keys=valid, causal=True)),
        ]
    note = f"{circumstances()} Projections in both; bare SDPA makes the same mask."
    record("route", "The scaled-dot route", f"{COMMAND} route", lines, note=note)


def _route_row(name: str, length: int, batch: int, mask: Mask) -> str:
    attention = mechanism({"kind": "scaled_dot"})
    x = torch.randn(batch, length, DIM, requires_grad=True)
    bare = lambda: _step(_bare(attention.heads, x, mask))  # noqa: E731
    rounds = paired([bare, lambda: _step(attention(x, x, x, mask))], seconds=4)
    cells = f"{median(rounds, 0):.1f} | {median(rounds, 1):.1f} | {ratio(rounds, 1, 0):.3f}"
    return f"| {length} | {name} | {cells} |"


def _bare(heads: nn.Module, x: Tensor, mask: Mask) -> Tensor:
    """What one would write by hand with the same weights."""
    query, key, value = (
        getattr(heads, name)(x).unflatten(-1, (HEADS, -1)).transpose(1, 2)
        for name in ("query", "key", "value")
    )
    allowed = None if mask.only_causal else mask.allowed(torch.arange(x.shape[1]), x.shape[1])
    context = F.scaled_dot_product_attention(query, key, value, allowed, is_causal=mask.only_causal)
    return heads.output(context.transpose(1, 2).flatten(2))  # type: ignore[operator]


def _step(context: Tensor) -> None:
    context.sum().backward()


def dispatch() -> None:
    """The automatic choice beside SDPA and the reference forced, in steps of a whole mechanism."""
    lines = [
        "| length | mask | SDPA ms | reference ms | chosen | chosen / other (target 1.05) |",
        "|---|---|---|---|---|---|",
    ]
    for length in (32, 64, 128, 256, 512, 1024, 2048):
        for masked in (False, True):
            lines.append(_dispatch_row(length, masked))
    note = f"{circumstances()} Projections included, 1,024 positions in a batch or one example."
    record("dispatch", "Choosing the kernel", f"{COMMAND} dispatch", lines, note=note)


def _dispatch_row(length: int, masked: bool) -> str:
    attention, batch = mechanism({"kind": "scaled_dot"}), max(1, 1024 // length)
    x = torch.randn(batch, length, DIM, requires_grad=True)
    valid = torch.arange(length) < torch.full((batch, 1), length * 3 // 4)
    mask = Mask(keys=valid if masked else None)
    fused = attention.call(x, x, x, mask).kernel.fused

    def forced(kernel: str) -> None:
        attention.kernels.forced = kernel
        _step(attention(x, x, x, mask))

    rounds = paired([partial(forced, kernel) for kernel in ("sdpa", "reference")], seconds=4)
    over = ratio(rounds, 0, 1) if fused else ratio(rounds, 1, 0)
    times = f"{median(rounds, 0):.1f} | {median(rounds, 1):.1f}"
    name = "sdpa" if fused else "reference"
    return f"| {length} | {'padding' if masked else 'none'} | {times} | {name} | {over:.2f} |"


def probes() -> None:
    """A training step with four examples probed once in fifty steps, and without."""
    lines = ["| length | ms a step | with probes | ratio (target 1.01) |", "|---|---|---|---|"]
    for length, batch in ((128, 16), (512, 4)):
        attention = mechanism({"kind": "scaled_dot"})
        x = torch.randn(batch, length, DIM)
        runs = [partial(_fifty_steps, attention, x, probed) for probed in (False, True)]
        rounds = paired(runs, seconds=20, least=5)
        plain, probed = (median(rounds, run) / 50 for run in range(2))
        lines.append(f"| {length} | {plain:.2f} | {probed:.2f} | {ratio(rounds, 1, 0):.3f} |")
    note = f"{circumstances()} One layer of attention alone: in a model the share is smaller."
    record("probes", "What probes cost", f"{COMMAND} probes", lines, note=note)


def _fifty_steps(attention: Attention, x: Tensor, probed: bool) -> None:
    for step in range(50):
        if probed and step == 0:
            with Probe(attention, ["encoder.self.0"], examples=range(4)) as probe:
                _step(attention(x, x, x))
            probe.maps()
        else:
            _step(attention(x, x, x))


SECTIONS = {f.__name__: f for f in (additive, long, route, dispatch, probes)}


def main() -> None:
    run_sections(SECTIONS, "Benchmarks of the attention kernels.", threads=1)


if __name__ == "__main__":
    main()
