"""Every embedded experiment as it comes, on two threads: its figures, its controls, its time.

    python -m benchmarks.experiments                  # all; what ran before is picked up
    python -m benchmarks.experiments dates tones      # some; the others as they ran before

Run it on a machine that does nothing else: seconds are reported. The runs are kept in
runs/benchmarks/experiments.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.results import record
from benchmarks.runs import RUNS, Training, origin, train_all

SECONDS = 180  # what every embedded experiment may take on two cores


@dataclass(frozen=True)
class Shown:
    """What is shown of an experiment, and what it has to reach."""

    answer: str = ""
    map: str = "mass_on_gold"
    seeds: tuple[int, ...] = (0,)
    answer_target: float | None = None
    map_target: float | None = None
    seconds: float = SECONDS

    def missed(self, answer: float | None, map_: float | None, seconds: float) -> Iterator[str]:
        """The targets that are not met, in words."""
        falling = self.answer.endswith("error")  # the less the better
        if self.answer_target is not None and answer is not None:
            reached = answer <= self.answer_target if falling else answer >= self.answer_target
            if not reached:
                yield f"{self.answer} {self.answer_target:g}"
        if self.map_target is not None and map_ is not None and map_ < self.map_target:
            yield f"{self.map} {self.map_target:g}"
        if seconds > self.seconds:
            yield f"{self.seconds:g} s"


EXPERIMENTS = {
    "dates": Shown("exact_match", seeds=(0, 1, 2), answer_target=0.98, map_target=0.9, seconds=90),
    "dates_predicted": Shown("exact_match"),
    "reviews": Shown("accuracy", "token_f1_macro", map_target=0.9),
    "canvas_classify": Shown("accuracy"),
    "canvas_locate": Shown("box_iou", answer_target=0.7),
    "canvas_segment": Shown("mean_iou", answer_target=0.85),
    "canvas_attend": Shown(map="cc"),
    "canvas_caption": Shown("exact_match", "pointing_accuracy"),
    "canvas_point": Shown(map="pointing_accuracy"),
    "tones": Shown("character_error", answer_target=0.02),
    "questions": Shown("accuracy"),
    "baskets": Shown("hr@1"),
    "recall": Shown("accuracy", answer_target=0.99),
    "haystack": Shown("accuracy"),
    "ratings": Shown("r2"),
    "induction": Shown("bits_per_unit"),
}


def training(name: str, seed: int) -> Training:
    """One run of the table."""
    return Training(RUNS / "experiments" / name / str(seed), (f"experiment={name}", f"seed={seed}"))


def row(name: str, seed: int) -> str:
    """What one run reached, beside a map that knows nothing."""
    shown, run = EXPERIMENTS[name], training(name, seed).figures()
    seconds = run["cost"]["train_seconds"]
    answer, map_ = run["answer"].get(shown.answer), run["attention"].get(shown.map)
    uniform = run["controls"]["uniform"].get(shown.map)
    changed = run["trust"].get("uniform")
    cells = [
        f"{name}, seed {seed}",
        f"{shown.answer} {answer:.4f}" if answer is not None else "the map is the answer",
        f"{shown.map} {map_:.4f}",
        "" if uniform is None else f"{uniform:.4f}",
        "" if changed is None else f"{changed:.3f}",
        f"{seconds:.0f}",
        "; ".join(shown.missed(answer, map_, seconds)) or "none",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description="Every embedded experiment as it comes.")
    parser.add_argument("names", nargs="*", choices=[*EXPERIMENTS, []])
    chosen = parser.parse_args().names or list(EXPERIMENTS)
    train_all([training(n, s) for n in chosen for s in EXPERIMENTS[n].seeds], at_once=1, threads=2)
    ran = [(n, s) for n, e in EXPERIMENTS.items() for s in e.seeds if training(n, s).done]
    lines = [
        "| experiment | answer | map | of a uniform map | changed by it | seconds | missed |",
        "|---|---|---|---|---|---|---|",
        *(row(*each) for each in ran),
    ]
    targets = "; ".join(
        f"{name}: {words}" for name, each in EXPERIMENTS.items() if (words := _targets(each))
    )
    note = f"Targets: {targets}; {SECONDS} s of training for all others."
    title, command = "The embedded experiments", "python -m benchmarks.experiments"
    record("experiments", title, command, lines, origin([training(*each) for each in ran]), note)


def _targets(shown: Shown) -> str:
    parts = []
    if shown.answer_target is not None:
        parts.append(f"{shown.answer} {shown.answer_target:g}")
    if shown.map_target is not None:
        parts.append(f"{shown.map} {shown.map_target:g}")
    if shown.seconds != SECONDS:
        parts.append(f"{shown.seconds:g} s")
    return ", ".join(parts)


if __name__ == "__main__":
    main()
