"""Measure where each kernel overtakes the reference on this machine.

    python -m attnlab.attention.kernels.measure                 # for this machine, kept in ~/.cache
    python -m attnlab.attention.kernels.measure --output FILE   # elsewhere

Takes about four minutes on a CPU. What is timed is the attention itself, without projections.
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
from typing import Any

import torch

from attnlab.attention.call import Call
from attnlab.attention.kernels import measured
from attnlab.attention.kernels.choose import ROUTES
from attnlab.attention.mask import Mask
from attnlab.attention.mechanism import Attention
from attnlab.config.attention import AttentionConfig

LENGTHS = (1, 4, 8, 16, 32, 64, 96, 128, 192, 256, 384, 512, 1024, 2048)
HEADS, WIDTH = 4, 64
MEASURED: dict[str, tuple[dict[str, Any], int]] = {  # score, and the longest length worth the time
    "sdpa": ({"kind": "scaled_dot"}, 2048),
    "additive": ({"kind": "additive", "hidden": None}, 256),
}


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
    fresh = replace(call, kernel=ROUTES[kernel])  # what the last run computed is not kept
    with torch.set_grad_enabled(train):
        context = fresh.attention.attend(fresh)
        if train:
            context.backward(torch.ones_like(context))


def best_times(runs: list[Callable[[], None]], seconds: float) -> list[float]:
    """The shortest time of each run, taken in turns so that a slow moment meets them all."""
    for run in runs:
        run()
    best = [float("inf")] * len(runs)
    end = time.perf_counter() + seconds
    rounds = 0
    while time.perf_counter() < end or rounds < 3:
        rounds += 1
        for index, run in enumerate(runs):
            began = time.perf_counter()
            run()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            best[index] = min(best[index], time.perf_counter() - began)
    return best


def measure(device: str, seconds: float, passes: int) -> dict[str, dict[str, dict[str, float]]]:
    """kernel -> case -> length -> time over the reference's time, the median of some passes."""
    attentions = {name: mechanism(score).to(device) for name, (score, _) in MEASURED.items()}
    cells = [
        (kernel, train, masked, length)
        for kernel, (_, longest) in MEASURED.items()
        for train, masked in itertools.product((True, False), repeat=2)
        for length in LENGTHS
        if length <= longest
    ]
    ratios: dict[tuple[str, bool, bool, int], list[float]] = {cell: [] for cell in cells}
    for _ in range(passes):  # far apart in time, so that a busy minute spoils one of them at most
        for cell in cells:
            kernel, train, masked, length = cell
            call = ready_call(attentions[kernel], max(1, min(32, 512 // length)), length, masked)
            runs = [partial(run_once, call, name, train) for name in (kernel, "reference")]
            fast, plain = best_times(runs, seconds)
            ratios[cell].append(fast / plain)
    found: dict[str, dict[str, dict[str, float]]] = {}
    for (kernel, train, masked, length), values in ratios.items():
        case = f"{'train' if train else 'infer'}-{'masked' if masked else 'plain'}"
        lengths = found.setdefault(kernel, {}).setdefault(case, {})
        lengths[str(length)] = round(statistics.median(values), 3)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--output", type=Path, default=measured.cached_path())
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seconds", type=float, default=0.2, help="time for each comparison")
    parser.add_argument("--passes", type=int, default=3, help="the median of so many is taken")
    options = parser.parse_args()
    figures = {
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
