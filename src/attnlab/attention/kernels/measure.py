"""Measure where each kernel overtakes the reference on this machine, and whether it is right.

    python -m attnlab.attention.kernels.measure                 # for this machine, kept in ~/.cache
    python -m attnlab.attention.kernels.measure --output FILE   # elsewhere

Takes about twenty minutes on a CPU. What is timed is the attention itself, without projections.
`differing` compares numbers, in a second; `attnlab doctor` prints what it finds.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.progress import track
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from attnlab.attention.blocks import blocks_of
from attnlab.attention.call import Call
from attnlab.attention.kernels.additive import additive_scores
from attnlab.attention.kernels.block_sparse import attend
from attnlab.attention.kernels.choose import FORMAT, cached_path, implementation
from attnlab.attention.kernels.native import LANES
from attnlab.attention.mask import Mask
from attnlab.attention.mechanism import Attention
from attnlab.config.attention import AttentionConfig

LENGTHS = (1, 4, 8, 16, 32, 64, 96, 128, 192, 256, 384, 512, 1024, 2048)
TOKENS = (512, 4096)  # of a batch: a small one and a large one
HEADS, WIDTH = 4, 64
Attended = Callable[[Tensor, Tensor, Tensor], Tensor]
Ratios = dict[str, dict[str, dict[str, dict[str, float]]]]
CASES = ("plain", "masked", "causal", "ruled")
MEASURED: dict[str, tuple[dict[str, Any], int, int, tuple[str, ...]]] = {
    # score, shortest and longest length worth the time, kinds of mask
    "sdpa": ({"kind": "scaled_dot"}, 1, 2048, CASES),
    "additive": ({"kind": "additive", "hidden": None}, 1, 256, CASES[:2]),
    "sparse": ({"kind": "scaled_dot"}, 128, 2048, ("ruled",)),
}


class Cell(NamedTuple):
    """What is timed by itself."""

    kernel: str
    training: str  # train or infer
    case: str
    tokens: int
    length: int


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


def case_mask(case: str, length: int, device: torch.device) -> Mask:
    """The mask that a case is measured with."""
    keys = torch.arange(length, device=device).expand(1, -1) < max(1, length * 3 // 4)
    masks = {"masked": Mask(keys=keys), "causal": Mask(causal=True), "ruled": Mask(window=(8, 8))}
    return masks.get(case, Mask())


def ready_call(attention: Attention, batch: int, length: int, mask: Mask) -> Call:
    """A call whose queries, keys and values are leaves, as if projections cost nothing."""
    device = next(attention.parameters()).device
    x = torch.randn(batch, length, HEADS * WIDTH, device=device)
    call = attention.call(x, x, x, mask)
    leaves = {
        name: getattr(call, name).detach().requires_grad_() for name in ("query", "key", "value")
    }
    return replace(call, **leaves)


def run_once(attention: Attention, call: Call, kernel: str, train: bool) -> None:
    """The attention of a call by one kernel, with its gradients where training."""
    fresh = replace(call, kernel=implementation(kernel))  # what the last run computed is not kept
    with torch.set_grad_enabled(train):
        context = attention.attend(fresh)
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


def ratios(cell: Cell, attention: Attention, seconds: float) -> dict[str, float]:
    """case -> time over the reference's.

    Where the time goes by the share of pairs that are computed there are two: of all pairs, and of
    none, which is what every call costs.
    """
    batch = max(1, min(512, cell.tokens // cell.length))
    device, train = next(attention.parameters()).device, cell.training == "train"
    call = ready_call(attention, batch, cell.length, case_mask(cell.case, cell.length, device))
    runs = [partial(run_once, attention, call, name, train) for name in (cell.kernel, "reference")]
    share = implementation(cell.kernel).share(call)
    if share is None:
        fast, reference = typical_times(runs, seconds)
        return {cell.case: fast / reference}
    whole = ready_call(attention, batch, cell.length, Mask())
    runs.append(partial(run_once, attention, whole, cell.kernel, train))
    some, reference, every = typical_times(runs, seconds)
    none = max(0.0, (some - share * every) / (1 - share))
    return {"none": none / reference, "all": every / reference}


def measure(device: str, seconds: float, passes: int, kernels: Sequence[str]) -> Ratios:
    """kernel -> case -> tokens -> length -> time over the reference's, the median of passes."""
    attentions = {name: mechanism(MEASURED[name][0]).to(device) for name in kernels}
    cells = [
        Cell(kernel, training, case, tokens, length)
        for kernel in kernels
        for training in ("train", "infer")
        for case in MEASURED[kernel][3]
        for tokens in TOKENS
        for length in LENGTHS
        if MEASURED[kernel][1] <= length <= MEASURED[kernel][2]
    ]
    found: dict[tuple[str, str, str, str], list[float]] = {}
    for _ in range(passes):  # far apart in time, so that a busy minute spoils one of them at most
        for cell in track(cells, "measuring", transient=True):
            for case, ratio in ratios(cell, attentions[cell.kernel], seconds).items():
                keys = (cell.kernel, f"{cell.training}-{case}", str(cell.tokens), str(cell.length))
                found.setdefault(keys, []).append(ratio)
    medians: Ratios = {}
    for (kernel, case, tokens, length), values in found.items():
        sizes = medians.setdefault(kernel, {}).setdefault(case, {}).setdefault(tokens, {})
        sizes[length] = round(statistics.median(values), 3)
    return medians


def differing() -> Iterator[str]:
    """Where kernels differ from the formulas by more than rounding, in values or gradients.

    Rows and keys are taken several at once; how many depends on the processor and the type, so
    that every length of a last block is tried.
    """
    for (name, (fast, formula)), (dtype, most) in product(COMPARED.items(), ROUNDING.items()):
        wrong = {
            length: error
            for length in (1, *range(16, 33), 100)
            if not (error := _difference(fast, formula, length, dtype)) <= most
        }
        if wrong:
            lengths = ", ".join(map(str, wrong))
            yield f"{name} is off by {max(wrong.values()):.1g} in {dtype} at lengths {lengths}"


def _blocks(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    length = query.shape[2]
    (blocks,) = blocks_of(Mask(causal=True), 0, length, length, LANES, query.device)
    return attend(query, key, value, blocks, 0.25).context


def _causal(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return scaled_dot_product_attention(query, key, value, is_causal=True, scale=0.25)


def _additive(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return additive_scores(query, key, value[0, :, 0, :, None])


def _additive_formula(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    joined = torch.tanh(query.unsqueeze(3) + key.unsqueeze(2))
    return (joined @ value[0, :, 0][:, None, :, None]).squeeze(-1)


COMPARED = {"sparse": (_blocks, _causal), "additive": (_additive, _additive_formula)}
ROUNDING = {torch.float32: 1e-4, torch.float64: 1e-10}


def _difference(fast: Attended, formula: Attended, length: int, dtype: torch.dtype) -> float:
    """The largest, as a share of the largest value if that is above 1; NaN where there is one."""
    random = torch.Generator().manual_seed(length)
    drawn = [torch.randn(1, 2, length, LANES, generator=random, dtype=dtype) for _ in "qkv"]
    inputs = [each.requires_grad_() for each in drawn]
    both = []
    for function in (fast, formula):
        out = function(*inputs)
        both.append([out.detach(), *torch.autograd.grad(out.square().sum(), inputs)])
    errors = [(a - b).abs().max() / b.abs().max().clamp(min=1) for a, b in zip(*both, strict=True)]
    return float(torch.stack(errors).max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--output", type=Path, default=cached_path())
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--kernels", nargs="+", default=list(MEASURED), choices=MEASURED)
    parser.add_argument("--seconds", type=float, default=0.2, help="time for each comparison")
    parser.add_argument("--passes", type=int, default=3, help="the median of so many is taken")
    options = parser.parse_args()
    figures = {
        "format": FORMAT,
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "ratios": {
            options.device: measure(
                options.device, options.seconds, options.passes, options.kernels
            )
        },
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(figures, indent=1) + "\n")
    print(f"written to {options.output}")


if __name__ == "__main__":
    main()
