"""The default experiment over seeds: exact match, mass on gold, seconds of training.

python -m benchmarks.dates
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from attnlab.config import compose
from attnlab.stages.prepare import prepared_data
from benchmarks.results import record

SEEDS = (0, 1, 2)
ROWS = {
    "exact match (target 0.98)": ("answer", "exact_match"),
    "mass on gold characters (target 0.90)": ("attention", "mass_on_gold"),
    "same, of a uniform map": ("controls", "uniform", "mass_on_gold"),
    "same, of the position prior": ("controls", "position", "mass_on_gold"),
    "answers changed by a uniform map": ("trust", "uniform"),
    "seconds of training (target 90)": ("cost", "train_seconds"),
}


def figures(seed: int, folder: Path) -> dict:
    """What one run of the default experiment writes."""
    command = [sys.executable, "train.py", f"seed={seed}", f"paths.run={folder}", "logger=files"]
    subprocess.run([*command, "trainer.progress=false"], check=True, stdout=subprocess.DEVNULL)
    return json.loads((folder / "metrics.json").read_text())


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        runs = [figures(seed, Path(folder) / str(seed)) for seed in SEEDS]
    heads = " | ".join(f"seed {seed}" for seed in SEEDS)
    table = [f"| | {heads} | mean |", "|---" * (len(SEEDS) + 2) + "|"]
    for name, path in ROWS.items():
        values = []
        for run in runs:
            value = run
            for key in path:
                value = value[key]
            values.append(float(value))  # type: ignore[arg-type]
        cells = [f"{value:.4g}" for value in [*values, sum(values) / len(values)]]
        table.append(f"| {name} | {' | '.join(cells)} |")
    digest = prepared_data(compose.load()[0]).digest
    record("dates", "The default experiment", "python -m benchmarks.dates", table, digest)


if __name__ == "__main__":
    main()
