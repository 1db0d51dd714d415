"""Which mechanisms find one symbol among a thousand: key-value recall over growing lengths.

    python -m benchmarks.recall

The same model and training each time, another mechanism or another length. The runs are kept in
runs/benchmarks and picked up by the next call.
"""

from __future__ import annotations

import matplotlib.pyplot as plt

from attnlab.metrics.figures import Interval, bootstrap
from benchmarks.results import PAGE, record
from benchmarks.runs import RUNS, Training, origin, train_all

LENGTHS = (64, 256, 1024)
MECHANISMS = {  # how each is drawn
    "additive": "#1f5fa8",
    "multihead": "#3b8fd0",
    "linear": "#c4581f",
    "window": "#8c4a9e",
    "uniform": "#777777",
}
PICTURE = PAGE.parent / "pictures" / "recall_by_length.png"


def training(mechanism: str, length: int) -> Training:
    """One point of the picture."""
    words = ("experiment=recall", f"attention={mechanism}", f"dataset.length={length}")
    return Training(RUNS / "recall" / mechanism / str(length), words)


def accuracy(mechanism: str, length: int) -> Interval:
    return bootstrap(training(mechanism, length).each("accuracy"))


def draw() -> None:
    """Accuracy over length, a line for each mechanism."""
    figure, axis = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for mechanism, colour in MECHANISMS.items():
        found = [accuracy(mechanism, length) for length in LENGTHS]
        mean = [each.mean for each in found]
        ends = [[e.mean - e.low for e in found], [e.high - e.mean for e in found]]
        axis.errorbar(LENGTHS, mean, ends, color=colour, marker="o", ms=4, capsize=3, lw=1.6)
    ends_at = {mechanism: accuracy(mechanism, LENGTHS[-1]).mean for mechanism in MECHANISMS}
    beside = axis.get_yaxis_transform()  # across in parts of the picture, up in what it shows
    for mechanism, height in apart(ends_at).items():
        colour = MECHANISMS[mechanism]
        axis.text(1.01, height, mechanism, color=colour, va="center", transform=beside)
    axis.axhline(1 / 16, color="#bbbbbb", lw=1, ls="--")
    axis.annotate(
        "chance", (LENGTHS[1], 1 / 16), (40, -12), textcoords="offset points", color="#777"
    )
    axis.set_xscale("log", base=2)
    axis.set_xticks(LENGTHS, [str(length) for length in LENGTHS])
    axis.set(xlabel="length", ylabel="right answers", ylim=(0, 1.04))
    axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(PICTURE, dpi=130)


def apart(heights: dict[str, float], least: float = 0.05) -> dict[str, float]:
    """Heights of labels, moved up where they would lie on one another."""
    moved: dict[str, float] = {}
    for name in sorted(heights, key=lambda name: heights[name]):
        lowest = max(moved.values(), default=-least) + least
        moved[name] = max(heights[name], lowest)
    return moved


def main() -> None:
    runs = [training(m, length) for length in LENGTHS for m in MECHANISMS]
    train_all(runs)
    draw()
    lines = [
        "![right answers over length](pictures/recall_by_length.png)",
        "",
        f"| mechanism | {' | '.join(f'length {length}' for length in LENGTHS)} |",
        "|---" * (len(LENGTHS) + 1) + "|",
    ]
    for mechanism in MECHANISMS:
        cells = [str(accuracy(mechanism, length)) for length in LENGTHS]
        lines.append(f"| {mechanism} | {' | '.join(cells)} |")
    note = "Share of right answers, seed 0; 95 % intervals over test examples."
    title, command = "Recall over length", "python -m benchmarks.recall"
    record("recall", title, command, lines, origin(runs), note)


if __name__ == "__main__":
    main()
