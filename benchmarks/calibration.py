"""How sure answers are, beside how often they are right: before and after one temperature.

    python -m benchmarks.calibration --data ../shared/data           # all; what ran is picked up

The temperature is fitted on validation, the error is that of the test split.
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import mean

from benchmarks.runs import Training, figures, verdict
from benchmarks.tables import Tables, Trained, seconds, values

MOST = 0.02  # expected calibration error
EXPERIMENTS = ("atis_intent", "sst2", "mnist")


def classifiers(data: str, trained: Trained) -> Iterator[str]:
    """One row for each experiment."""
    yield "| experiment | accuracy | error | temperature | error after | interval | target | s |"
    yield "|---|---|---|---|---|---|---|---|"
    for name in EXPERIMENTS:
        runs = trained.runs(name, f"experiment={name}")
        if runs:
            yield row(name, runs)


def row(name: str, runs: list[Training]) -> str:
    made = figures(runs)
    error = mean(each["calibration"]["ece_scaled"] for each in made)
    low, high = made[0]["intervals"]["ece_scaled"]
    cells = [
        name,
        values(made, "answer", "accuracy"),
        values(made, "calibration", "ece"),
        values(made, "calibration", "temperature", form=".2f"),
        values(made, "calibration", "ece_scaled"),
        f"[{low:.4f}, {high:.4f}]" if len(made) == 1 else "",
        verdict(MOST, error, less_is_better=True),
        seconds(made),
    ]
    return f"| {' | '.join(cells)} |"


TABLES = Tables(
    "calibration",
    {
        "classifiers": (
            "Calibration",
            classifiers,
            "Expected calibration error over 15 bins of confidence.",
        )
    },
)

if __name__ == "__main__":
    TABLES.main()
