"""Time and memory against length, for every mechanism: a picture and a table.

python -m benchmarks.attention_scaling
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
import torch
from torch import Tensor

from attnlab.attention.mechanism import Attention
from attnlab.config.attention import AttentionConfig
from attnlab.config.combinations import usable_for
from attnlab.config.compose import compose, config_dir, resolve
from benchmarks.attention import median, paired, peak_mib
from benchmarks.results import PAGE, record

LENGTHS = (64, 128, 256, 512, 1024, 2048)
TOO_LONG = 1500  # milliseconds of a step beyond which longer inputs are not tried
DIM = 64
GROUPS = {  # the colour of a curve: how its cost grows, from the fastest
    "linear time": ("linear", "performer", "cosformer", "nystrom", "se", "cbam"),
    "fused": (),
    "weights in memory": (),
    "query by query": (),
}
COLOURS = dict(zip(GROUPS, ("#1b7837", "#2166ac", "#999999", "#b2182b"), strict=True))
Measured = dict[int, tuple[float, float]]  # length -> milliseconds, MiB


def built(name: str) -> Attention:
    """A named mechanism; in self-attention unless it goes query by query."""
    config = AttentionConfig.model_validate(resolve(compose([f"attention={name}"]))["attention"])
    site = "decoder.cross.0" if usable_for(config, "", {"self"}) else "encoder.self.0"
    dims = dict.fromkeys(("query_dim", "key_dim", "value_dim"), DIM)
    return Attention(config, **dims, output_dim=None, site=site, max_length=LENGTHS[-1])


def group(name: str, attention: Attention) -> str:
    if name in GROUPS["linear time"]:
        return "linear time"
    if attention.recurrent:
        return "query by query"
    return "fused" if "sdpa" in attention.kernels.names else "weights in memory"


def measured(attention: Attention) -> Measured:
    """Forward and backward, a batch of two, until it takes too long."""
    found: Measured = {}
    for length in LENGTHS:
        x = torch.randn(2, length, DIM, requires_grad=True)
        run = partial(_step, attention, x)
        memory = peak_mib(run)
        time = median(paired([run], seconds=0.5, least=3), 0)
        found[length] = (time, memory)
        if time > TOO_LONG:
            break
    return found


def _step(attention: Attention, x: Tensor) -> None:
    query = x if attention.role == "self" else x * 1  # another tensor: not attention to oneself
    attention(query, x, x).sum().backward()


def draw(results: dict[str, tuple[str, Measured]], path: Path) -> None:
    """Two panels, milliseconds and MiB, a curve for each mechanism."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(13, 12), layout="constrained")
    for panel, label in enumerate(("milliseconds, forward and backward", "MiB at most")):
        axis = axes[panel]
        ends = sorted(
            (max(0.1, list(curve.values())[-1][panel]), max(curve), name)
            for name, (_, curve) in results.items()
        )
        for kind, curve in results.values():
            values = [max(0.1, figures[panel]) for figures in curve.values()]
            axis.plot(list(curve), values, color=COLOURS[kind], linewidth=1, alpha=0.8)
        _label_ends(axis, ends, results)
        axis.set(xscale="log", yscale="log", xlabel="length", title=label)
        axis.set_xticks(LENGTHS, [str(n) for n in LENGTHS])
        axis.set_xlim(LENGTHS[0], LENGTHS[-1] * 2.6)
        axis.spines[["top", "right"]].set_visible(False)
    for kind, colour in COLOURS.items():
        axes[0].plot([], [], color=colour, label=kind)
    axes[0].legend(frameon=False, loc="upper left")
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _label_ends(
    axis: Any, ends: list[tuple[float, int, str]], results: dict[str, tuple[str, Measured]]
) -> None:
    """Names beside the last points, moved up where they would cover one another."""
    lowest = 0.0
    for value, length, name in ends:
        place = max(value, lowest * 1.09)
        lowest = place
        colour = COLOURS[results[name][0]]
        axis.annotate(
            name,
            (length, value),
            (LENGTHS[-1] * 1.15, place),
            color=colour,
            fontsize=6.5,
            va="center",
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.4, "alpha": 0.5},
        )


def main() -> None:
    torch.set_num_threads(1)  # disturbed least by whatever else runs
    names = sorted(path.stem for path in (config_dir() / "attention").glob("*.yaml"))
    results: dict[str, tuple[str, Measured]] = {}
    for name in names:
        attention = built(name)
        results[name] = (group(name, attention), measured(attention))
        print(name, results[name], flush=True)
    draw(results, PAGE.parent / "pictures" / "attention_scaling.png")
    head = " | ".join(f"{n} ms" for n in (128, 512, 2048))
    lines = [
        "![time and memory against length](pictures/attention_scaling.png)",
        "",
        f"| mechanism | {head} | MiB at 512 |",
        "|---|---|---|---|---|",
        *(_table_row(name, curve) for name, (_, curve) in results.items()),
    ]
    note = (
        f"Batch of two, width {DIM}, forward and backward, one thread; curves end where "
        f"a step takes more than {TOO_LONG / 1000} s. Memory is the peak beyond what was there."
    )
    title, command = "Every mechanism against length", "python -m benchmarks.attention_scaling"
    record("attention-scaling", title, command, lines, note=note)


def _table_row(name: str, curve: Measured) -> str:
    times = [f"{curve[n][0]:.1f}" if n in curve else "-" for n in (128, 512, 2048)]
    memory = f"{curve[512][1]:.0f}" if 512 in curve else "-"
    return f"| {name} | {' | '.join(times)} | {memory} |"


if __name__ == "__main__":
    main()
