"""How long it takes to explain 200 reviews: every method, then every test of the map.

    OMP_NUM_THREADS=2 python -m benchmarks.explain

The model is trained first, which is not counted. What is timed is the whole command, from its start
to its exit, with the settings of conf/explain/default.yaml.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from benchmarks.results import record

ROOT = Path(__file__).resolve().parents[1]
TARGET = 180.0  # seconds


def trained(folder: Path, epochs: int) -> Path:
    """A run of the experiment `reviews`."""
    settings = ["experiment=reviews", f"trainer.max_epochs={epochs}", f"paths.run={folder / 'run'}"]
    _run(["train.py", *settings, "logger=files", "trainer.progress=false"])
    return folder / "run"


def timed(run: Path) -> tuple[float, dict[str, Any]]:
    """Seconds of `attnlab explain`, and what it wrote."""
    started = time.perf_counter()
    _run(["-m", "attnlab", "explain", str(run)])
    seconds = time.perf_counter() - started
    return seconds, json.loads((run / "explanations.json").read_text(encoding="utf-8"))


def _run(words: list[str]) -> None:
    subprocess.run([sys.executable, *words], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = trained(Path(folder), options.epochs)
        whole, written = timed(run)
        data = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))["dataset"]["name"]
    methods: dict[str, float] = written["seconds"]
    explaining = sum(methods.values())
    table = [
        f"{len(written['examples'])} examples of `{data}`, {len(methods)} methods.",
        "",
        "| | seconds |",
        "|---|---|",
        f"| `attnlab explain RUN`, whole (target at most {TARGET:.0f}) | {whole:.1f} |",
        f"| the methods | {explaining:.1f} |",
        f"| all else: imports, data, agreement, the tests of the map | {whole - explaining:.1f} |",
        *(f"| `{name}` | {seconds:.1f} |" for name, seconds in methods.items()),
    ]
    command = "OMP_NUM_THREADS=2 python -m benchmarks.explain"
    record("explain", "Explaining 200 reviews", command, table)


if __name__ == "__main__":
    main()
