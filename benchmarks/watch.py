"""What `attnlab.watch` costs: GPT-2 small, 512 tokens, forward passes with and without it.

    python -m benchmarks.watch

Rounds of all variants alternate in one process, so that a machine that changes its speed hits all.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from attnlab.attention.dot_product import DotProductCall
from attnlab.attention.taps import MapChange
from attnlab.watching import Watch
from attnlab.watching.interception import Running
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
    eager = GPT2Model(GPT2Config()).eval()
    eager.set_attn_implementation("eager")
    eager.load_state_dict(fused.state_dict())
    return fused, eager


class Stopwatch(Watch):
    """A watch that counts the processor time, in milliseconds, that its own work takes."""

    spent = 0.0

    def see(self, running: Running, call: DotProductCall, role: str | None) -> MapChange | None:
        began = time.process_time()
        change = super().see(running, call, role)
        self.spent += 1e3 * (time.process_time() - began)
        return change


@dataclass(frozen=True)
class Timed:
    """One forward pass: milliseconds on the clock, of the processor, and of those for the watch."""

    clock: float
    processor: float
    spent: float = 0.0


def timed(model: Any, ids: torch.Tensor, settings: dict[str, Any] | None, **more: Any) -> Timed:
    """A pass, under a watch from its opening to its end where there are settings."""
    clock, processor = time.perf_counter(), time.process_time()
    spent = 0.0
    if settings is None:
        model(ids, use_cache=False, **more)
    else:
        with Stopwatch(model, **settings) as seen:
            model(ids, use_cache=False)
        spent = seen.spent
    clock, processor = time.perf_counter() - clock, time.process_time() - processor
    return Timed(1e3 * clock, 1e3 * processor, spent)


def row(rounds: Sequence[Sequence[Timed]], run: int) -> str:
    """Medians: the clock, what is added to the forward pass beside it, what the watch took."""
    clock = statistics.median(times[run].clock for times in rounds)
    if not run:
        return f"{clock:.0f} | | "
    added = statistics.median(times[run].processor / times[0].processor - 1 for times in rounds)
    shares = [t[run].spent / (t[run].processor - t[run].spent) for t in rounds]
    own = f"{100 * statistics.median(shares):.1f} %" if any(shares) else ""
    return f"{clock:.0f} | {100 * added:+.1f} % | {own}"


def table(batch: int, threads: int, count: int) -> list[str]:
    """The rows of one batch size and number of threads."""
    torch.set_num_threads(threads)
    fused, eager = models()
    ids = torch.randint(0, 50257, (batch, LENGTH), generator=torch.Generator().manual_seed(0))
    runs = [partial(timed, fused, ids, None)]
    runs += [partial(timed, fused, ids, settings) for settings, _ in VARIANTS.values()]
    runs.append(partial(timed, eager, ids, None, output_attentions=True))
    with torch.inference_mode():
        for run in runs:
            run()
        rounds = [[run() for run in runs] for _ in range(count)]
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
        "| batch | threads | | ms on the clock | processor time added | in the watch | target |",
        "|---|---|---|---|---|---|---|",
    ]
    for batch in options.batches:
        for threads in options.threads:
            lines += table(batch, threads, options.rounds if batch == 1 else options.rounds // 3)
    note = (
        f"GPT-2 small without its output layer, random weights, {LENGTH} tokens, fp32, no "
        "gradients; a watch is opened and closed around each pass. All are medians of rounds. "
        "What is added is taken from pass to pass, and holds what others on the machine cost. The "
        "time in the watch is measured within the pass, as a share of the rest of it; the target "
        "(at most) is for it."
    )
    title, command = "What watching attention costs", "python -m benchmarks.watch"
    record("watch", title, command, lines, note=note)


if __name__ == "__main__":
    main()
