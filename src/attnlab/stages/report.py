"""`attnlab report RUN`: one HTML page with the figures, the curves and the maps of a run."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from attnlab.errors import UserError
from attnlab.learning.history import read
from attnlab.report.examples import load_examples
from attnlab.report.page import page
from attnlab.stages.run import Run, open_run


def main(arguments: list[str]) -> None:
    """Write the page of a run that is evaluated."""
    parser = argparse.ArgumentParser(prog="attnlab report", description=__doc__)
    parser.add_argument("runs", nargs="+", help="folders of runs")
    for folder in parser.parse_args(arguments).runs:
        print(write(open_run(folder)))


def write(run: Run) -> Path:
    """The page, from the files that the other stages wrote."""
    metrics = run.folder / "metrics.json"
    if not metrics.is_file():
        raise UserError(f"{metrics}: missing; try: attnlab evaluate {run.folder}")
    figures = json.loads(metrics.read_text(encoding="utf-8"))
    examples = load_examples(run.folder / "examples.json")
    path = run.folder / "report.html"
    path.write_text(page(run.config.name, figures, curves(run), examples), encoding="utf-8")
    return path


def curves(run: Run) -> dict[str, list[tuple[int, float]]]:
    """Every figure of training and validation over the steps."""
    found: dict[str, list[tuple[int, float]]] = {}
    for path in sorted((run.folder / "history").glob("*.csv")):
        for row in read(path):
            step = int(row.pop("step"))
            for name, value in row.items():
                if value and name != "epoch":
                    found.setdefault(f"{path.stem}/{name}", []).append((step, float(value)))
    return found
