"""What `attnlab.watch` costs: GPT-2 small, 512 tokens, forward passes with and without it.

    python -m benchmarks.watch

Rounds of all variants alternate in one process, so that a machine that changes its speed hits all.
Shares are those of the processor's time, which others on the machine do not take part in.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

import attnlab
from benchmarks.results import record

LENGTH, LAST = 512, "h.11.attn"
# Name -> settings of the watch, and the most that it may add to a forward pass.
VARIANTS: dict[str, tuple[dict[str, Any], float]] = {
    "statistics of all layers from 64 rows": (
        {"rows": 64, "maps": False, "statistics": True},
        0.03,
    ),
    "exact statistics of all layers": ({"maps": False, "statistics": True}, 0.12),
    "whole maps of one layer": ({"layers": -1}, 0.03),
    "whole maps of all layers": ({}, float("nan")),
}


def models() -> tuple[Any, Any]:
    """The same random weights, with fused and with eager attention."""
    from transformers import GPT2Config, GPT2Model

    torch.manual_seed(0)
    fused = GPT2Model(GPT2Config()).eval()
    eager = GPT2Model(GPT2Config(attn_implementation="eager")).eval()
    eager.load_state_dict(fused.state_dict())
    return fused, eager


def watched(model: Any, ids: torch.Tensor, settings: dict[str, Any]) -> None:
    """One forward pass under a watch, from its opening to its end."""
    with attnlab.watch(model, **settings):
        model(ids, use_cache=False)


def timed(run: Callable[[], object]) -> tuple[float, float]:
    """Milliseconds on the clock, and of the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    run()
    return 1e3 * (time.perf_counter() - clock), 1e3 * (time.process_time() - processor)


def row(rounds: Sequence[Sequence[tuple[float, float]]], run: int) -> str:
    """Medians of the clock and of the share that a run adds to the forward pass beside it."""
    clock = statistics.median(times[run][0] for times in rounds)
    added = statistics.median(times[run][1] / times[0][1] - 1 for times in rounds)
    return f"{clock:.0f} | " + (f"{100 * added:+.1f} %" if run else "")


def table(batch: int, threads: int, count: int) -> list[str]:
    """The rows of one batch size and number of threads."""
    torch.set_num_threads(threads)
    fused, eager = models()
    ids = torch.randint(0, 50257, (batch, LENGTH), generator=torch.Generator().manual_seed(0))
    runs: list[Callable[[], object]] = [partial(fused, ids, use_cache=False)]
    runs += [partial(watched, fused, ids, settings) for settings, _ in VARIANTS.values()]
    runs.append(partial(eager, ids, use_cache=False, output_attentions=True))
    with torch.inference_mode():
        for run in runs:
            run()
        rounds = [[timed(run) for run in runs] for _ in range(count)]
    names = ["forward pass, fused", *VARIANTS, "eager, `output_attentions=True`"]
    targets = [None, *(limit for _, limit in VARIANTS.values()), None]
    lines = []
    for number, (name, limit) in enumerate(zip(names, targets, strict=True)):
        most = "" if limit is None or limit != limit else f"{100 * limit:.0f} %"  # noqa: PLR0124
        lines.append(f"| {batch} | {threads} | {name} | {row(rounds, number)} | {most} |")
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=7, help="of batch 1; a third of larger ones")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    lines = [
        "| batch | threads | | ms (median) | processor time added (median) | target at most |",
        "|---|---|---|---|---|---|",
    ]
    for batch in options.batches:
        for threads in options.threads:
            lines += table(batch, threads, options.rounds if batch == 1 else options.rounds // 3)
    note = (
        f"GPT-2 small without its output layer, random weights, {LENGTH} tokens, fp32, no "
        "gradients. A watch is opened and closed around each pass; its maps are computed within."
    )
    title, command = "What watching attention costs", "python -m benchmarks.watch"
    record("watch", title, command, lines, note=note)


if __name__ == "__main__":
    main()
