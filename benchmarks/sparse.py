"""Attention that reads some blocks only, beside dense scaled_dot_product_attention in one run.

python -m benchmarks.sparse                      # all, some minutes on two cores
python -m benchmarks.sparse kernel structures    # some: kernel, structures, short, forward
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attnlab.attention.blocks import Blocks, assemble
from attnlab.attention.call import Call
from attnlab.attention.kernels.block_sparse import attend
from attnlab.attention.kernels.choose import KernelChoice, implementation
from attnlab.attention.kernels.measure import HEADS, WIDTH, mechanism, ready_call
from attnlab.attention.mask import Causal, Mask, Pattern, Window
from attnlab.attention.mechanism import Attention
from attnlab.attention.public import mechanism_config
from attnlab.attention.rules import BigBird, Block, Dilated, Strided
from attnlab.models.transformer_layers import EncoderLayer
from benchmarks.attention import median, paired, ratio
from benchmarks.results import now, record, run_sections

COMMAND = "python -m benchmarks.sparse"
SCALE = WIDTH**-0.5
RULES: dict[str, Pattern] = {
    "causal": Causal(),
    "window, 256 keys": Window(128, 127),
    "dilated, 64 keys each side, every 8th": Dilated(64, 8),
    "strided, 32": Strided(32),
    "block, 128 and neighbours": Block(128, 1),
    "bigbird, blocks of 64": BigBird(64, 1, 1, 1, 0),
}
TARGETS = {0.10: (8, 6), 0.05: (14, 10)}  # density -> forward, forward and backward


def random_blocks(length: int, density: float, size: int = 64) -> Blocks:
    """The query's own block and random ones, as many for each query block."""
    count = length // size
    order = torch.rand(count, count).masked_fill(torch.eye(count) > 0, 2.0).argsort(descending=True)
    listed = torch.zeros(1, 1, count, count, dtype=torch.bool)
    listed[0, 0].scatter_(1, order[:, : round(density * count)], True)
    return assemble(listed, listed, lambda *_: torch.empty(0), length, length, size)


def timed(ways: list[Callable[[], Tensor]], train: bool, seconds: float) -> list[list[float]]:
    """Milliseconds of each way in turn, with its backward pass where training."""
    grad = torch.ones_like(ways[0]())

    def run(way: Callable[[], Tensor]) -> None:
        with torch.set_grad_enabled(train):
            context = way()
            if train:
                context.backward(grad)

    return paired([partial(run, way) for way in ways], seconds, least=3)


def verdict(reached: float, target: float) -> str:
    return f"{reached:.1f} ({'reached' if reached >= target else 'missed'}: {target})"


def kernel() -> None:
    """8,192 keys, four heads of width 64: time, speed-up and errors at two densities."""
    length = 8192
    torch.manual_seed(0)
    leaves = [torch.randn(1, HEADS, length, WIDTH, requires_grad=True) for _ in range(3)]
    lines = [
        "| blocks read | SDPA forward ms | ours ms | times faster (target) "
        "| SDPA forward + backward ms | ours ms | times faster (target) "
        "| output error | gradient error |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for density, targets in TARGETS.items():
        blocks = random_blocks(length, density)
        ways = [
            partial(F.scaled_dot_product_attention, *leaves),
            lambda blocks=blocks: attend(*leaves, blocks=blocks, scale=SCALE).context,
        ]
        cells = [f"{blocks.density:.1%}"]
        for train, target in zip((False, True), targets, strict=True):
            rounds = timed(ways, train, seconds=15)
            cells += [f"{median(rounds, 0):.0f}", f"{median(rounds, 1):.0f}"]
            cells.append(verdict(ratio(rounds, 0, 1), target))
        cells += [f"{error:.0e}" for error in errors(leaves, blocks)]
        lines.append(f"| {' | '.join(cells)} |")
    note = (
        f"Length {length:,}, {HEADS} heads of width {WIDTH}, blocks of 64, random and the query's "
        f"own; fp32, errors against float64. Threads: {torch.get_num_threads()}."
    )
    record("sparse-kernel", "Attention over some blocks", f"{COMMAND} kernel", lines, note=note)


def errors(leaves: list[Tensor], blocks: Blocks) -> tuple[float, float]:
    """The largest error of contexts and of gradients, against the same in float64."""
    torch.manual_seed(1)
    grad = torch.randn_like(leaves[0])
    made = []
    for dtype in (torch.float32, torch.float64):
        own = [leaf.detach().to(dtype).requires_grad_() for leaf in leaves]
        context = attend(*own, blocks=blocks, scale=SCALE).context
        made.append([context.detach(), *torch.autograd.grad(context, own, grad.to(dtype))])
    off = [(one - exact).abs().max().item() for one, exact in zip(*made, strict=True)]
    return off[0], max(off[1:])


def by_kernel(attention: Attention, call: Call, kernel: str) -> Callable[[], Tensor]:
    """The context of a call by a kernel; nothing is kept from one run to the next."""
    return lambda: attention.attend(replace(call, kernel=implementation(kernel)))


def chosen(attention: Attention, call: Call, *, without: str = "") -> str:
    """The name of the kernel that is taken, and that would be if one were not there."""
    choice = KernelChoice(attention.config)
    choice.names = [name for name in choice.names if name != without]
    names = (*choice.names, "reference")
    return next(name for name in names if implementation(name) is choice.choose(call))


def structures() -> None:
    """Each structure beside dense SDPA without a mask, and causal beside SDPA's own."""
    lines = [
        "| structure | length | blocks read | forward ms | dense / ours | forward + backward ms "
        "| dense / ours |",
        "|---|---|---|---|---|---|---|",
    ]
    attention = mechanism({"kind": "scaled_dot"})
    for length in (2048, 8192):
        for name, rule in RULES.items():
            call = ready_call(attention, 1, length, Mask(patterns=(rule,)))
            lines.append(_row(f"{name} | {length}", attention, call, ""))
        call = ready_call(attention, 1, length, Mask(causal=True))
        lines.append(_row(f"causal, by SDPA | {length}", attention, call, "sdpa"))
    note = (
        f"{HEADS} heads of width {WIDTH}, one example, without projections; dense is SDPA without "
        "a mask. Goals: faster than dense everywhere; window at 8,192 at least 10 times; causal at "
        f"least 1.7 times, and no slower than by SDPA. Threads: {torch.get_num_threads()}."
    )
    title = "Structures that skip what they do not read"
    record("sparse-structures", title, f"{COMMAND} structures", lines, note=note)


def _row(name: str, attention: Attention, call: Call, forced: str) -> str:
    density = "all" if forced else f"{sum(blocks.density for blocks in call.listed[0]):.1%}"
    cells = [name, density]
    for train in (False, True):
        with torch.set_grad_enabled(train):
            kernel = forced or chosen(attention, call)
        dense = partial(F.scaled_dot_product_attention, call.query, call.key, call.present_value)
        rounds = timed([dense, by_kernel(attention, call, kernel)], train, seconds=3)
        cells += [f"{median(rounds, 1):.1f} ({kernel})", f"{ratio(rounds, 0, 1):.1f}"]
    return f"| {' | '.join(cells)} |"


def short() -> None:
    """Short inputs: the kernel that is taken, beside the one that was taken without blocks."""
    lines = [
        "| structure | length | training | before | now | before / now |",
        "|---|---|---|---|---|---|",
    ]
    attention = mechanism({"kind": "scaled_dot"})
    for name, rule in RULES.items():
        for length in (64, 128, 256, 512):
            call = ready_call(attention, 4096 // length, length, Mask(patterns=(rule,)))
            for train in (False, True):
                with torch.set_grad_enabled(train):
                    before, now = (chosen(attention, call, without=w) for w in ("sparse", ""))
                ways = [by_kernel(attention, call, kernel) for kernel in (before, now)]
                faster = ratio(timed(ways, train, seconds=1), 0, 1) if before != now else 1.0
                cells = (name, length, "yes" if train else "no", before, now, f"{faster:.2f}")
                lines.append(f"| {' | '.join(map(str, cells))} |")
    note = f"4,096 positions in a batch. Goal: at least 0.95. Threads: {torch.get_num_threads()}."
    record("sparse-short", "Structures of short inputs", f"{COMMAND} short", lines, note=note)


class Stack(nn.Module):
    """Layers of an encoder without embeddings: width 256, four heads, feed-forward of 512."""

    dim, dropout, feedforward_dim, feedforward_dropout, norm = 256, 0.0, 512, 0.0, "before"

    def __init__(self, layers: int, **structure: Any) -> None:
        super().__init__()
        self.structure = structure
        self.layers = nn.ModuleList(
            EncoderLayer(self, None, f"encoder.self.{i}")  # type: ignore[arg-type]
            for i in range(layers)
        )

    def attention(self, config: Any, site: str, **sizes: Any) -> nn.Module:
        """A mechanism of the stack's own, whatever the config."""
        made = mechanism_config("multihead", self.structure, {})
        widths = dict.fromkeys(("query_dim", "key_dim", "value_dim", "output_dim"), self.dim)
        return Attention(made, **widths, site=site)

    def forward(self, states: Tensor) -> Tensor:
        """batch x length x dim."""
        for layer in self.layers:
            states = layer(states, Mask())
        return states


def cpu_seconds(model: nn.Module, states: Tensor) -> float:
    """Seconds of the processor, which other work on the machine does not lengthen much."""
    began = time.process_time()
    model(states)
    return time.process_time() - began


def forward_seconds(models: Sequence[nn.Module], length: int) -> list[list[float]]:
    """Seconds of each, one after the other: once at a great length, else three times."""
    states, long = torch.randn(1, length, Stack.dim), length > 10_000
    for model in models[1:] if long else models:
        model(states)
    return [[cpu_seconds(model, states) for model in models] for _ in range(1 if long else 3)]


@torch.no_grad()
def forward() -> None:
    """The forward pass of four layers from end to end, against the same layers dense."""
    lines = [
        "| positions | blocks read | dense CPU s | predicted CPU s | times faster (32,768: 8) |",
        "|---|---|---|---|---|",
    ]
    shares = (0.1, 0.05)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    structures = [{"kind": "predicted", "block": 64, "density": share} for share in shares]
    models = [Stack(4).eval(), *(Stack(4, structure=each).eval() for each in structures)]
    for length in (2048, 8192, 32768):
        found = forward_seconds(models, length)
        for number, share in enumerate(shares, start=1):
            dense, sparse = median(found, 0), median(found, number)
            faster = ratio(found, 0, number)
            cells = (
                f"{length:,}",
                f"{share:.0%}",
                f"{dense:.2f}",
                f"{sparse:.2f}",
                f"{faster:.1f}",
            )
            lines.append(f"| {' | '.join(cells)} |")
    note = (
        "Four layers of width 256 with four heads and feed-forward layers of 512, random weights, "
        "one text; the predictor's time counts. Dense is SDPA. One thread."
    )
    record(
        "predicted-speed",
        "Forward pass with predicted blocks",
        f"{COMMAND} forward",
        lines,
        now(),
        note=note,
    )


SECTIONS = {f.__name__: f for f in (kernel, structures, short, forward)}


def main() -> None:
    run_sections(SECTIONS, "Attention that reads some blocks only.", threads=2)


if __name__ == "__main__":
    main()
