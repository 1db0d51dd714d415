"""Answers, plausible maps and faithful maps: what terms that make answers depend on a map cost.

    python -m benchmarks.faithful                     # all; what ran before is picked up
    python -m benchmarks.faithful reviews             # some; the others as they ran before

Pictures of the Pareto fronts stand in runs/benchmarks/faithful.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from attnlab.report import leaderboard_picture
from attnlab.report.leaderboard import Entry, leaderboard
from attnlab.report.tables import PER_EXAMPLE, RESAMPLES, read_scores
from benchmarks.results import record
from benchmarks.runs import RUNS, Training, origin, train_all, verdict

DATA = {
    "reviews": ("experiment=reviews", "objective=unsupervised", "dataset.train=4000"),
    "eraser_movies": ("experiment=eraser_movies",),
}
TERMS = {
    "none": (),
    "uninformed": ("uninformed",),
    "all three": ("uninformed", "comprehensiveness", "sufficiency"),
}
TARGETS = {"accuracy": 0.90, "auprc": 0.52, "changed": 0.5}  # of eraser_movies


def training(data: str, name: str, seed: int = 0) -> Training:
    """One run of the table."""
    terms = f"objective/terms=[{','.join(TERMS[name])}]"
    folder = RUNS / "faithful" / data / name.replace(" ", "_") / str(seed)
    return Training(folder, (*DATA[data], terms, f"seed={seed}"))


def reached(run: Training) -> dict[str, float]:
    """Its figures: of answers, of the map beside gold, of the map's part in the answers."""
    found = run.figures()
    return {
        "accuracy": found["answer"]["accuracy"],
        "auprc": found["attention"]["auprc"],
        "changed": found["trust"]["uniform"],
        "permuted": found["trust"]["permuted"],
    }


def entry(run: Training, name: str) -> Entry:
    """A run as a leaderboard has it."""
    scores = read_scores(run.folder, RESAMPLES), read_scores(run.folder, PER_EXAMPLE).get("id", [])
    return Entry(name, 0, str(run.folder), "finished", "", "", run.figures(), *scores)


def rows(data: str) -> Iterator[str]:
    """A line for each run that is there."""
    for name in TERMS:
        run = training(data, name)
        if run.done:
            found = reached(run)
            cells = [data, name, *(f"{value:.3f}" for value in found.values())]
            cells.append(f"{run.figures()['cost']['train_seconds']:.0f}")
            yield f"| {' | '.join(cells)} |"


def verdicts() -> Iterator[str]:
    """What was to be reached by one of the runs on reviews of films, and whether it was."""
    for name in TERMS:
        run = training("eraser_movies", name)
        if name != "none" and run.done:
            found = reached(run)
            each = (f"{figure} {verdict(goal, found[figure])}" for figure, goal in TARGETS.items())
            yield f"{name}: {'; '.join(each)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="*", choices=[*DATA, []])
    chosen = parser.parse_args().data or list(DATA)
    train_all([training(data, name) for data in chosen for name in TERMS], at_once=1)
    ran = [(d, n, training(d, n)) for d in DATA for n in TERMS if training(d, n).done]
    for data in dict.fromkeys(d for d, _, _ in ran):
        board = leaderboard([entry(run, name) for d, name, run in ran if d == data])
        leaderboard_picture.save(board, RUNS / "faithful" / data)
    table = [
        "| data | terms | accuracy | AUPRC | changed by a uniform map | by a permuted one | s |",
        "|---|---|---|---|---|---|---|",
        *(row for data in DATA for row in rows(data)),
    ]
    note = "One seed; reviews has 4,000 examples and no loss on maps. " + ". ".join(verdicts())
    origins = origin([run for _, _, run in ran])
    record("faithful", "Faithful on purpose", "python -m benchmarks.faithful", table, origins, note)


if __name__ == "__main__":
    main()
