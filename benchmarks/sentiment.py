"""Verdicts on films: of whole reviews, with the words that say so, and of single sentences.

    python -m benchmarks.sentiment --data FOLDER             # all; what ran before is picked up
    python -m benchmarks.sentiment --data FOLDER sentences   # some

FOLDER is what `paths.data` names: it holds `eraser_movies` and `sst2`. Runs are kept in
runs/benchmarks/sentiment.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from benchmarks.results import record
from benchmarks.runs import RUNS, Training, judged, over, train_all

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SEEDS = (0, 1, 2)
SYSTEMS = {
    "reviews": ("experiment=eraser_movies",),
    "reviews_unsupervised": ("experiment=eraser_movies", "objective=unsupervised"),
    "sentences": ("experiment=sst2",),
}
TITLES = {"reviews": "trained towards rationales", "reviews_unsupervised": "not trained so"}
CONTROLS = ("random", "uniform", "prior", "oracle")
ACCURACY, AUPRC, TOKEN_F1 = 0.85, 0.5, 0.4
SENTENCES_ACCURACY = 0.84


def training(name: str, seed: int, data: Path) -> Training:
    words = (*SYSTEMS[name], f"seed={seed}", f"paths.data={data}")
    return Training(RUNS / "sentiment" / name / str(seed), words)


def review_rows(done: dict[str, list[Training]]) -> Iterator[str]:
    """Both trainings, then maps that know nothing, or all."""
    yield "| reviews | runs | accuracy | AUPRC | token F1 | changed by a uniform map | seconds |"
    yield "|---|---|---|---|---|---|---|"
    for name, title in TITLES.items():
        runs = done[name]
        if not runs:
            continue
        figures = ("accuracy", "auprc", "token_f1_macro", "trust/uniform")
        found = " | ".join(str(over(runs, figure)) for figure in figures)
        seconds = runs[0].figures()["cost"]["train_seconds"]
        yield f"| {title} | {len(runs)} | {found} | {seconds:.0f} |"
    if not done["reviews"]:
        return
    known = done["reviews"][0].figures()["controls"]
    for control in CONTROLS:
        if control in known:
            maps = (known[control].get(name) for name in ("auprc", "token_f1_macro"))
            cells = ["" if each is None else f"{each:.3f}" for each in maps]
            yield f"| ({control} map) | | | {' | '.join(cells)} | | |"
    found = {name: over(done["reviews"], name).mean for name in ("accuracy", "auprc")}
    f1 = over(done["reviews"], "token_f1_macro").mean
    yield (
        f"| target | | {judged(ACCURACY, found['accuracy'])} | {judged(AUPRC, found['auprc'])} "
        f"| {judged(TOKEN_F1, f1)} | | |"
    )
    yield "| published | | | 0.417 (BERT-LSTM) | 0.285 (Lei et al. 2016) | | |"


def sentence_rows(runs: list[Training]) -> Iterator[str]:
    if not runs:
        return
    found, seconds = over(runs, "accuracy"), runs[0].figures()["cost"]["train_seconds"]
    yield "| sentences | runs | accuracy | target | published | seconds |"
    yield "|---|---|---|---|---|---|"
    cells = (found, judged(SENTENCES_ACCURACY, found.mean), "0.827 (CNN-rand)", f"{seconds:.0f}")
    yield f"| SST-2, phrases in training | {len(runs)} | {' | '.join(map(str, cells))} |"


def main() -> None:
    parser = argparse.ArgumentParser(description="Verdicts on films.")
    parser.add_argument("names", nargs="*", choices=[*SYSTEMS, []])
    parser.add_argument("--data", type=Path, default=DATA, metavar="FOLDER")
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help="of each training at most")
    options = parser.parse_args()
    names, seeds, data = options.names or SYSTEMS, SEEDS[: options.seeds], options.data
    train_all([training(name, seed, data) for seed in seeds for name in names], at_once=1)
    done = {
        name: [run for seed in SEEDS if (run := training(name, seed, data)).done]
        for name in SYSTEMS
    }
    lines = [*review_rows(done), "", *sentence_rows(done["sentences"])]
    note = (
        "ERASER movies: 1,600 reviews, of which training marks 8 % of the words and the test split "
        "30 %. AUPRC and token F1 are means over reviews; the 30 % of words with the most "
        "weight count as found. 95 % intervals over seeds (where there are several) and test "
        "examples; one thread."
    )
    command = "python -m benchmarks.sentiment --data FOLDER"
    record("sentiment", "Verdicts on films", command, lines, note=note)


if __name__ == "__main__":
    main()
