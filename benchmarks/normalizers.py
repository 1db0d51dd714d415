"""Every normalizer and every hard selection on `reviews`: is the right evidence chosen?

    python -m benchmarks.normalizers

The same experiment each time, with gold rationales and without; the runs are kept in
runs/benchmarks and picked up by the next call.
"""

from __future__ import annotations

from attnlab.metrics.figures import bootstrap
from benchmarks.results import record
from benchmarks.runs import RUNS, Training, origin, train_all

KINDS = (
    "softmax", "sparsemax", "entmax", "learned_entmax", "sigmoid", "off_by_one", "sink",
    "top_k", "gumbel", "hard_kuma", "reinforce", "monotonic",
)  # fmt: skip
OBJECTIVES = {"gold": "objective=supervised", "no gold": "objective=unsupervised"}
COLUMNS = {
    "accuracy": "accuracy",
    "token F1": "token_f1_macro",
    "average precision": "average_precision",
    "changed by a uniform map": "trust/uniform",
}


def training(kind: str, objective: str) -> Training:
    """One run of the table."""
    folder = RUNS / "normalizers" / kind / objective.replace(" ", "_")
    words = ("experiment=reviews", "dataset.train=4000", f"attention/normalizer={kind}")
    return Training(folder, (*words, OBJECTIVES[objective]))


def row(kind: str, objective: str) -> str:
    """The figures of one run, each with the interval over test examples."""
    run = training(kind, objective)
    cells = [str(bootstrap(run.each(figure))) for figure in COLUMNS.values()]
    return f"| {kind} | {objective} | {' | '.join(cells)} |"


def main() -> None:
    table = [(kind, objective) for objective in OBJECTIVES for kind in KINDS]
    train_all([training(*each) for each in table])
    lines = [
        f"| normalizer | trained with | {' | '.join(COLUMNS)} |",
        "|---" * (len(COLUMNS) + 2) + "|",
        *(row(*each) for each in table),
    ]
    note = (
        "Additive attention over a recurrent encoder, 4,000 reviews, seed 0; "
        "95 % intervals over test examples."
    )
    title, command = "Every normalizer on planted rationales", "python -m benchmarks.normalizers"
    record("normalizers", title, command, lines, origin([training(*each) for each in table]), note)


if __name__ == "__main__":
    main()
