"""Verdicts on films: of whole reviews, with the words that say so, and of single sentences.

    python -m benchmarks.sentiment --data ../shared/data             # all; what ran is picked up
    python -m benchmarks.sentiment --data ../shared/data sentences   # some

The runs are kept in runs/benchmarks/sentiment. `--threads` is of each training.
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.runs import figures, of_controls, over, verdict
from benchmarks.tables import Tables, Trained, seconds

MAPS = ("auprc", "token_f1_macro")


def reviews(data: str, trained: Trained) -> Iterator[str]:
    """Trained towards rationales and not, then maps that know nothing, or all."""
    towards = trained.runs("reviews", "experiment=eraser_movies")
    alone = trained.runs(
        "reviews_unsupervised", "experiment=eraser_movies", "objective=unsupervised"
    )
    yield "| reviews | accuracy | AUPRC | token F1 | changed by a uniform map | seconds |"
    yield "|---|---|---|---|---|---|"
    for title, runs in {"trained towards rationales": towards, "not trained so": alone}.items():
        if runs:
            found = [str(over(runs, figure)) for figure in ("accuracy", *MAPS, "trust/uniform")]
            yield f"| {title} | {' | '.join(found)} | {seconds(figures(runs))} |"
    if not towards:
        return
    controls = towards[0].figures()["controls"]
    for control in ("random", "uniform", "prior", "oracle"):
        if control in controls:
            maps = (controls[control].get(name) for name in MAPS)
            cells = ["" if each is None else f"{each:.3f}" for each in maps]
            yield f"| ({control} map) | | {' | '.join(cells)} | | |"
    targets = {"accuracy": 0.85, "auprc": 0.5, "token_f1_macro": 0.4}
    reached = [verdict(target, over(towards, name).mean) for name, target in targets.items()]
    yield f"| target | {' | '.join(reached)} | | |"
    yield "| published | | 0.417 (BERT-LSTM) | 0.285 (Lei et al. 2016) | | |"


def sentences(data: str, trained: Trained) -> Iterator[str]:
    """SST-2, with the phrases of its trees in training: how good or bad they are, or whether."""
    two = (
        "dataset=sst2_phrases",
        "task.merge_labels=null",
        "trainer.max_epochs=4",
    )  # as many steps
    rows = {
        "five degrees, from counted word vectors": trained.runs("sentences", "experiment=sst2"),
        "the same from none": trained.runs(
            "sentences_plain", "experiment=sst2", "dataset.vectors=null"
        ),
        "two classes, from counted word vectors": trained.runs(
            "sentences_two", "experiment=sst2", *two
        ),
    }
    yield "| SST-2 | accuracy | target | published | seconds |"
    yield "|---|---|---|---|---|"
    for name, value in of_controls(next(iter(rows.values())), "accuracy"):
        yield f"| {name} | {value:.3f} | | | |"
    for title, runs in rows.items():
        if runs:
            found, took = over(runs, "accuracy"), seconds(figures(runs))
            target = verdict(0.84, found.mean)
            yield f"| {title} | {found} | {target} | 0.827 (CNN-rand) | {took} |"


TABLES = Tables(
    "sentiment",
    {
        "reviews": (
            "Verdicts on films, and the words that say so",
            reviews,
            "ERASER movies: 1,600 reviews, of which training marks 8 % of the words and the test "
            "split 30 %. AUPRC and token F1 are means over reviews; the 30 % of words with the "
            "most weight count as found. AUPRC as published joins the points of its curve by "
            "lines, so that a uniform map scores (1 + share) / 2 though it knows nothing. 95 % "
            "intervals over seeds and test examples.",
        ),
        "sentences": (
            "Verdicts on sentences",
            sentences,
            "Phrases of the training sentences are trained on too: 159 thousand with their "
            "degrees, or the 78 thousand of them that are not neutral. All answer good or bad. "
            "Vectors are counted in them and in the reviews of ERASER movies without labels. "
            "95 % intervals over seeds and test examples.",
        ),
    },
)

if __name__ == "__main__":
    TABLES.main()
