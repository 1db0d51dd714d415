"""Questions about stories (bAbI) and summaries of abstracts (SciTLDR), with their controls.

    python -m benchmarks.stories --data FOLDER               # all; what ran before is picked up
    python -m benchmarks.stories --data FOLDER babi_qa1      # some; the others as they ran before

FOLDER is what `paths.data` names: it holds `babi` and `scitldr_a`. Each row is an experiment as it
comes, on one thread. The runs are kept in runs/benchmarks/stories.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.results import record
from benchmarks.runs import RUNS, Training, judged, over, train_all

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
ROUGE = ("rouge1", "rouge2", "rougeL")


@dataclass(frozen=True)
class Story:
    """A task of bAbI and what it has to reach."""

    accuracy: float
    mass: float = 0.9
    seeds: tuple[int, ...] = (0, 1, 2)


STORIES = {"babi_qa1": Story(1.0), "babi_qa2": Story(0.85), "babi_qa3": Story(0.7)}
SUMMARIES = {"scitldr_extractive": (0, 1, 2), "scitldr_abstractive": (0,)}


def training(name: str, seed: int, data: Path) -> Training:
    """One run of the tables."""
    words = (f"experiment={name}", f"seed={seed}", f"paths.data={data}")
    return Training(RUNS / "stories" / name / str(seed), words)


def done(name: str, data: Path) -> list[Training]:
    """The runs of an experiment that have ended."""
    seeds = STORIES[name].seeds if name in STORIES else SUMMARIES[name]
    return [run for seed in seeds if (run := training(name, seed, data)).done]


def story_rows(data: Path) -> Iterator[str]:
    yield (
        "| task | runs | accuracy | target | mass on the facts | target | of a uniform map | "
        "answers changed by a uniform map | seconds |"
    )
    yield "|---|---|---|---|---|---|---|---|---|"
    for name, story in STORIES.items():
        runs = done(name, data)
        if not runs:
            continue
        accuracy, mass = over(runs, "accuracy"), over(runs, "mass_on_gold")
        first = runs[0].figures()
        cells = [
            name,
            str(len(runs)),
            str(accuracy),
            judged(story.accuracy, accuracy.mean),
            str(mass),
            judged(story.mass, mass.mean),
            f"{first['controls']['uniform']['mass_on_gold']:.3f}",
            str(over(runs, "trust/uniform")),
            f"{first['cost']['train_seconds']:.0f}",
        ]
        yield f"| {' | '.join(cells)} |"


def summary_rows(data: Path) -> Iterator[str]:
    yield f"| summary | runs | {' | '.join(ROUGE)} | the oracle's sentence | seconds |"
    yield "|---|---|---|---|---|---|---|"
    for name in SUMMARIES:
        runs = done(name, data)
        if not runs:
            continue
        first = runs[0].figures()
        for control, found in first["answer_controls"].items():
            cells = [control, "", *(f"{found[each]:.3f}" for each in ROUGE)]
            yield f"| {' | '.join(cells)} | {found['exact_match']:.3f} | |"
        cells = [name, str(len(runs)), *(str(over(runs, each)) for each in ROUGE)]
        extracts = "exact_match" in first["answer"]
        cells.append(str(over(runs, "exact_match")) if extracts else "")
        yield f"| {' | '.join(cells)} | {first['cost']['train_seconds']:.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description="Stories and summaries.")
    parser.add_argument("names", nargs="*", choices=[*STORIES, *SUMMARIES, []])
    parser.add_argument("--data", type=Path, default=DATA)
    arguments = parser.parse_args()
    seeds = {name: story.seeds for name, story in STORIES.items()} | SUMMARIES
    chosen = arguments.names or list(seeds)
    runs = [training(name, seed, arguments.data) for name in chosen for seed in seeds[name]]
    train_all(runs, at_once=1)
    stories, summaries = list(story_rows(arguments.data)), list(summary_rows(arguments.data))
    note = (
        "bAbI: 1,000 questions of each task, a tenth of them for validation, each task on its "
        "own; every look is trained towards its fact. Mass is the mean over looks, so that a "
        "uniform map's is that on one fact; on any of the facts it is .228, .175 and .094. "
        "SciTLDR: ROUGE F1 without stemming, of several references the best; lead is the first "
        "sentence, oracle the one that the data mark. 95 % intervals over seeds (where there are "
        "several) and test examples."
    )
    command = "python -m benchmarks.stories --data FOLDER"
    record("stories", "Stories and summaries", command, [*stories, "", *summaries], note=note)


if __name__ == "__main__":
    main()
