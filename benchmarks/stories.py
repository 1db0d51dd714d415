"""Questions about stories, summaries of abstracts, replies to customers, with their controls.

    python -m benchmarks.stories --data ../shared/data           # all; what ran is picked up
    python -m benchmarks.stories --data ../shared/data support   # some

The runs are kept in runs/benchmarks/stories. `--threads` is of each training.
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.runs import figures, over, verdict
from benchmarks.tables import Tables, Trained, seconds

STORIES = {"babi_qa1": 1.0, "babi_qa2": 0.85, "babi_qa3": 0.7}  # accuracy to reach
MASS = 0.9
ROUGE = ("rouge1", "rouge2", "rougeL")


def stories(data: str, trained: Trained) -> Iterator[str]:
    """bAbI: the answer, and the facts that it rests on."""
    yield (
        "| task | accuracy | target | mass on the facts | target | of a uniform map | "
        "answers changed by a uniform map | seconds |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    for name, target in STORIES.items():
        runs = trained.runs(name, f"experiment={name}")
        if not runs:
            continue
        accuracy, mass = over(runs, "accuracy"), over(runs, "mass_on_gold")
        cells = [
            name,
            str(accuracy),
            verdict(target, accuracy.mean),
            str(mass),
            verdict(MASS, mass.mean),
            f"{runs[0].figures()['controls']['uniform']['mass_on_gold']:.3f}",
            str(over(runs, "trust/uniform")),
            seconds(figures(runs)),
        ]
        yield f"| {' | '.join(cells)} |"


def summaries(data: str, trained: Trained) -> Iterator[str]:
    """SciTLDR: one sentence taken from the abstract, or written."""
    taken = trained.runs("scitldr_extractive", "experiment=scitldr_extractive")
    written = trained.runs("scitldr_abstractive", "experiment=scitldr_abstractive", seeds=1)
    yield f"| summary | {' | '.join(ROUGE)} | the oracle's sentence | seconds |"
    yield "|---|---|---|---|---|---|"
    if taken:
        for control, found in taken[0].figures()["answer_controls"].items():
            cells = [f"{found[each]:.3f}" for each in (*ROUGE, "exact_match")]
            yield f"| ({control}) | {' | '.join(cells)} | |"
        cells = [str(over(taken, each)) for each in (*ROUGE, "exact_match")]
        yield f"| a sentence of the abstract | {' | '.join(cells)} | {seconds(figures(taken))} |"
    if written:
        cells = [str(over(written, each)) for each in ROUGE]
        yield f"| written | {' | '.join(cells)} | | {seconds(figures(written))} |"


def replies(data: str, trained: Trained) -> Iterator[str]:
    """Customer service: a reply that is written, or found among known ones."""
    written = trained.runs("support_reply", "experiment=support_reply")
    found = trained.runs("support_retrieve", "experiment=support_retrieve")
    yield "| reply | figure | measured | mass on gold | of a uniform map | seconds |"
    yield "|---|---|---|---|---|---|"
    for title, runs, figure in (
        ("written", written, "exact_match"),
        ("found among the known ones", found, "hr@1"),
    ):
        if not runs:
            continue
        uniform = runs[0].figures()["controls"]["uniform"]["mass_on_gold"]
        cells = [str(over(runs, figure)), str(over(runs, "mass_on_gold")), f"{uniform:.3f}"]
        yield f"| {title} | {figure} | {' | '.join(cells)} | {seconds(figures(runs))} |"


TABLES = Tables(
    "stories",
    {
        "babi": (
            "Questions about stories",
            stories,
            "bAbI: 1,000 questions of each task, a tenth of them for validation, each task on its "
            "own; every look is trained towards its fact. Mass is the mean over looks, so that a "
            "uniform map's is that on one fact; on any of the facts it is .228, .175 and .094. "
            "95 % intervals over seeds and test examples.",
        ),
        "scitldr": (
            "Summaries of abstracts",
            summaries,
            "SciTLDR: ROUGE F1 without stemming, of several references the best; lead is the "
            "first sentence, oracle the one that the data mark. 95 % intervals over seeds (where "
            "there are several) and test examples.",
        ),
        "support": (
            "Replies to customers",
            replies,
            "Generated dialogues (`dataset=support`). 95 % intervals over seeds and test examples.",
        ),
    },
)

if __name__ == "__main__":
    TABLES.main()
