"""Measure where each kernel overtakes the reference on this machine.

    python -m attnlab.attention.kernels.measure                 # for this machine, kept in ~/.cache
    python -m attnlab.attention.kernels.measure --output FILE   # elsewhere

Takes about ten minutes on a CPU. What is timed is the attention itself, without projections.
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.progress import track

from attnlab.attention.call import Call
from attnlab.attention.kernels.choose import FORMAT, cached_path, implementation
from attnlab.attention.mask import Mask
from attnlab.attention.mechanism import Attention
from attnlab.config.attention import AttentionConfig

LENGTHS = (1, 4, 8, 16, 32, 64, 96, 128, 192, 256, 384, 512, 1024, 2048)
TOKENS = (512, 4096)  # of a batch: a small one and a large one
HEADS, WIDTH = 4, 64
Ratios = dict[str, dict[str, dict[str, dict[str, float]]]]
MEASURED: dict[str, tuple[dict[str, Any], int]] = {  # score, and the longest length worth the time
    "sdpa": ({"kind": "scaled_dot"}, 2048),
    "additive": ({"kind": "additive", "hidden": None}, 256),
}


class Cell(NamedTuple):
    """What is timed by itself."""

    kernel: str
    train: bool
    masked: bool
    tokens: int
    length: int

    @property
    def case(self) -> str:
        return f"{'train' if self.train else 'infer'}-{'masked' if self.masked else 'plain'}"


def mechanism(score: dict[str, Any], **heads: Any) -> Attention:
    """Four heads of width 64 with a given score."""
    config = AttentionConfig.model_validate(
        {
            "name": str(score["kind"]),
            "score": score,
            "normalizer": {"kind": "softmax"},
            "structure": {"kind": "global"},
            "position": {"kind": "none"},
            "heads": heads or {"kind": "multi", "count": HEADS},
            "kernel": "auto",
            "dropout": 0.0,
        }
    )
    dims = dict.fromkeys(("query_dim", "key_dim", "value_dim"), HEADS * WIDTH)
    return Attention(config, **dims, output_dim=None, site="encoder.self.0")


def ready_call(attention: Attention, batch: int, length: int, masked: bool) -> Call:
    """A call whose queries, keys and values are leaves, as if projections cost nothing."""
    device = next(attention.parameters()).device
    x = torch.randn(batch, length, HEADS * WIDTH, device=device)
    keys = torch.arange(length, device=device) < torch.full((batch, 1), max(1, length * 3 // 4)).to(
        device
    )
    call = attention.call(x, x, x, Mask(keys=keys if masked else None))
    leaves = {
        name: getattr(call, name).detach().requires_grad_() for name in ("query", "key", "value")
    }
    return replace(call, **leaves)


def run_once(call: Call, kernel: str, train: bool) -> None:
    """The attention of a call by one kernel, with its gradients where training."""
    fresh = replace(call, kernel=implementation(kernel))  # what the last run computed is not kept
    with torch.set_grad_enabled(train):
        context = fresh.kernel.context(fresh)
        if train:
            context.backward(torch.ones_like(context))


def typical_times(runs: list[Callable[[], None]], seconds: float) -> list[float]:
    """The median time of each run, taken in turns so that a slow moment meets them all.

    Not the shortest: what memory costs that is fresh each time is a part of it.
    """
    for run in runs:
        run()
    times: list[list[float]] = [[] for _ in runs]
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[0]) < 3:
        for run, taken in zip(runs, times, strict=True):
            began = time.perf_counter()
            run()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            taken.append(time.perf_counter() - began)
    return [statistics.median(taken) for taken in times]


def measure(device: str, seconds: float, passes: int) -> Ratios:
    """kernel -> case -> tokens -> length -> time over the reference's, the median of passes."""
    attentions = {name: mechanism(score).to(device) for name, (score, _) in MEASURED.items()}
    cells = [
        Cell(kernel, train, masked, tokens, length)
        for kernel, (_, longest) in MEASURED.items()
        for train, masked in itertools.product((True, False), repeat=2)
        for tokens, length in itertools.product(TOKENS, LENGTHS)
        if length <= longest
    ]
    ratios: dict[Cell, list[float]] = {cell: [] for cell in cells}
    for _ in range(passes):  # far apart in time, so that a busy minute spoils one of them at most
        for cell in track(cells, "measuring", transient=True):
            batch = max(1, min(512, cell.tokens // cell.length))
            call = ready_call(attentions[cell.kernel], batch, cell.length, cell.masked)
            ways = (cell.kernel, "reference")
            runs = [partial(run_once, call, name, cell.train) for name in ways]
            fast, plain = typical_times(runs, seconds)
            ratios[cell].append(fast / plain)
    medians: Ratios = {}
    for cell, values in ratios.items():
        sizes = medians.setdefault(cell.kernel, {}).setdefault(cell.case, {})
        sizes.setdefault(str(cell.tokens), {})[str(cell.length)] = round(
            statistics.median(values), 3
        )
    return medians


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--output", type=Path, default=cached_path())
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seconds", type=float, default=0.2, help="time for each comparison")
    parser.add_argument("--passes", type=int, default=3, help="the median of so many is taken")
    options = parser.parse_args()
    figures = {
        "format": FORMAT,
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "ratios": {options.device: measure(options.device, options.seconds, options.passes)},
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(figures, indent=1) + "\n")
    print(f"written to {options.output}")


if __name__ == "__main__":
    main()
