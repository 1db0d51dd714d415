"""What gold maps are worth: every generator, trained with all, some, none and wrong ones.

    python -m benchmarks.prediction                    # all; what ran before is picked up
    python -m benchmarks.prediction reviews tones      # some; the others as they ran before

Each cell is `python train.py experiment=... paths.run=...`, one thread, two runs at a time. Three
things are reported for each: is the answer good, is the attention right, does the answer depend on
it. The runs are kept in runs/benchmarks.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np

from attnlab.metrics.figures import Interval, bootstrap_seeds
from benchmarks.results import PAGE, record
from benchmarks.runs import RUNS, Training, origin, train_all

PICTURE = PAGE.parent / "pictures" / "prediction.png"
SEEDS = (0, 1, 2)
CONDITIONS = {
    "none": ["objective=unsupervised"],
    "1 %": ["dataset.supervision=0.01"],
    "10 %": ["dataset.supervision=0.1"],
    "100 %": [],
    "wrong": ["dataset.targets=permuted"],
}


@dataclass(frozen=True)
class Study:
    """A generator: its experiment, made smaller, and the figure that says if answers are good."""

    answer: str
    overrides: tuple[str, ...]


STUDIES = {
    "dates": Study("exact_match", ("experiment=dates", "dataset.train=8000", "dataset.test=1000")),
    "reviews": Study("accuracy", ("experiment=reviews", "dataset.train=4000", "dataset.test=1000")),
    "canvas": Study(
        "accuracy", ("experiment=canvas_classify", "dataset.train=4000", "trainer.max_epochs=8")
    ),
    "tones": Study("exact_match", ("experiment=tones", "dataset.train=2000")),
    "questions": Study("accuracy", ("experiment=questions", "dataset.train=8000")),
    "baskets": Study("hr@1", ("experiment=baskets", "dataset.train=5000", "dataset.test=1000")),
    "recall": Study("accuracy", ("experiment=recall", "dataset.length=128", "dataset.train=4000")),
}
FIGURES = {"answer": "the answer", "mass_on_gold": "mass on gold", "uniform": "changed answers"}


def training(generator: str, condition: str, seed: int) -> Training:
    """One run of the table."""
    folder = RUNS / "prediction" / generator / condition.replace(" %", "") / str(seed)
    words = (*STUDIES[generator].overrides, *CONDITIONS[condition], f"seed={seed}")
    return Training(folder, words)


def summary(generator: str, condition: str, figure: str) -> Interval:
    """The mean over seeds and test examples, with the interval over both."""
    runs = [training(generator, condition, seed) for seed in SEEDS]
    name = {"answer": STUDIES[generator].answer, "uniform": "trust/uniform"}.get(figure, figure)
    return bootstrap_seeds([run.each(name) for run in runs])


def rows(generators: Sequence[str]) -> Iterator[str]:
    yield "| generator | gold maps | answer | mass on gold | answers changed by a uniform map |"
    yield "|---|---|---|---|---|"
    for generator, condition in itertools.product(generators, CONDITIONS):
        cells = [str(summary(generator, condition, figure)) for figure in FIGURES]
        name = f"{generator} ({STUDIES[generator].answer})"
        yield f"| {name} | {condition} | {' | '.join(cells)} |"
    yield ""
    uniform = (
        f"{g} {training(g, '100 %', 0).figures()['controls']['uniform']['mass_on_gold']:.2f}"
        for g in generators
    )
    yield f"Mass on gold of a uniform map: {', '.join(uniform)}."


def few_maps(generators: Sequence[str]) -> Iterator[str]:
    """What a hundredth of the maps costs the answers, and how right it makes the attention."""
    yield "| generator | answer with 1 % of the maps less that with none | mass, share of 100 %'s |"
    yield "|---|---|---|"
    for generator in generators:
        figure = STUDIES[generator].answer
        differences = [
            np.subtract(
                training(generator, "1 %", seed).each(figure),
                training(generator, "none", seed).each(figure),
            )
            for seed in SEEDS
        ]
        few, all_ = (summary(generator, c, "mass_on_gold").mean for c in ("1 %", "100 %"))
        yield f"| {generator} | {bootstrap_seeds(differences)} | {few / all_:.2f} |"


def claims(generators: Sequence[str]) -> Iterator[str]:
    """What the table says beyond doubt: where the intervals of two conditions lie apart."""
    yield "Beside training without gold maps, where 95 % intervals lie apart:"
    yield ""
    for condition in ("100 %", "10 %", "1 %", "wrong"):
        said = []
        for figure, words in (("mass_on_gold", "mass on gold"), ("answer", "answers")):
            better, worse = [], []
            for generator in generators:
                before = summary(generator, "none", figure)
                after = summary(generator, condition, figure)
                if after.low > before.high:
                    better.append(generator)
                elif after.high < before.low:
                    worse.append(generator)
            said.append(f"{words} better in {_listed(better)}, worse in {_listed(worse)}")
        maps = "wrong maps" if condition == "wrong" else f"{condition} of the maps"
        yield f"- {maps}: {'; '.join(said)}."


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if names else "none"


def draw(generators: Sequence[str]) -> None:
    """Small multiples: the three figures over the share of gold maps, wrong ones apart."""
    figure, axes = plt.subplots(2, 4, figsize=(12, 5.4), sharey=True, layout="constrained")
    colours = ("#1f5fa8", "#c4581f", "#5a5a5a")
    places = np.array([0, 1, 2, 3, 4.4])
    for axis, generator in zip(axes.flat, generators, strict=False):
        for (name, words), colour in zip(FIGURES.items(), colours, strict=True):
            found = [summary(generator, condition, name) for condition in CONDITIONS]
            mean = np.array([each.mean for each in found])
            ends = np.array([[e.mean - e.low for e in found], [e.high - e.mean for e in found]])
            axis.plot(places[:4], mean[:4], color=colour, lw=1.6, label=words)
            axis.errorbar(places, mean, ends, color=colour, fmt="o", ms=4, capsize=3, lw=1)
        axis.set_title(generator, loc="left", fontsize=11)
        axis.set_xticks(places, list(CONDITIONS), fontsize=9)
        axis.set_ylim(-0.03, 1.03)
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", color="#e4e4e4", lw=0.7)
        axis.set_axisbelow(True)
    for axis in axes.flat[len(generators) :]:
        axis.axis("off")
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower right", frameon=False, bbox_to_anchor=(0.97, 0.12))
    figure.supxlabel("share of training examples with a gold map", fontsize=10)
    figure.savefig(PICTURE, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description="What gold maps are worth.")
    parser.add_argument("generators", nargs="*", choices=[*STUDIES, []])
    chosen = parser.parse_args().generators or list(STUDIES)
    table = itertools.product(chosen, SEEDS, CONDITIONS)
    train_all([training(generator, condition, seed) for generator, seed, condition in table])
    made = [g for g in STUDIES if all(training(g, c, s).done for c in CONDITIONS for s in SEEDS)]
    draw(made)
    picture = "![three figures for each generator](pictures/prediction.png)"
    lines = [*rows(made), "", *few_maps(made), "", *claims(made), "", picture]
    title, command = "What gold maps are worth", "python -m benchmarks.prediction"
    note = (
        f"Experiments of the same names, with less data; seeds {', '.join(map(str, SEEDS))}. "
        "95 % intervals over seeds and test examples."
    )
    runs = [training(g, c, s) for g in made for c in CONDITIONS for s in SEEDS]
    record("prediction", title, command, lines, origin(runs), note)


if __name__ == "__main__":
    main()
