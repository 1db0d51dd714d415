"""The trained models that come with the package: `make zoo` trains and packs them.

    python -m benchmarks.zoo                 # all
    python -m benchmarks.zoo dates reviews   # some

Each is an experiment as it stands. The runs are kept in runs/benchmarks and picked up by the next
call; the packed models replace those in zoo/, and docs/results.md says how good they are.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attnlab.report.summary import read_figures
from attnlab.stages.run import open_run
from attnlab.stages.run_folders import ZOO
from attnlab.stages.zoo import MIB, pack, size_of
from attnlab.training.checkpoint import read_checkpoint
from benchmarks.results import Origin, record
from benchmarks.runs import RUNS, Training

MODELS = {  # name -> its experiment
    "dates": "dates",
    "reviews": "reviews",
    "digits": "canvas_classify",
    "tones": "tones",
    "questions": "questions",
    "support": "support_reply",
}
LARGEST = 3 * MIB


def build(name: str) -> Path:
    """Train and pack one model, in place of the one that is there."""
    training = Training(RUNS / "zoo" / name, (f"experiment={MODELS[name]}",))
    training.run()
    folder = ZOO / name
    shutil.rmtree(folder, ignore_errors=True)
    ZOO.mkdir(exist_ok=True)
    pack(open_run(training.folder), folder)
    if size_of(folder) > LARGEST:
        raise SystemExit(f"{folder}: larger than {LARGEST // MIB} MiB")
    return folder


def table(folders: list[Path]) -> Iterator[str]:
    """A line for each model: its first figures of answers and of maps, and its size."""
    yield "| model | experiment | answers | maps | uniform map | MiB |"
    yield "|---|---|---|---|---|---|"
    for folder in folders:
        figures = read_figures(folder)
        answer = _first(figures, "answer")
        attention = next(iter(figures["attention"]), "")
        uniform = figures["controls"].get("uniform", {}).get(attention)
        control = "" if uniform is None else f"{uniform:.4f}"
        cells = [
            *(f"zoo/{folder.name}", MODELS[folder.name], _figure(figures, "answer", answer)),
            *(_figure(figures, "attention", attention), control, f"{size_of(folder) / MIB:.2f}"),
        ]
        yield f"| {' | '.join(cells)} |"


def _first(figures: dict[str, Any], group: str) -> str:
    return next(name for name in figures[group] if name != "loss")


def _figure(figures: dict[str, Any], group: str, name: str) -> str:
    """A figure with its interval."""
    value = figures[group].get(name)
    if value is None:
        return ""
    low, high = figures["intervals"].get(name) or (None, None)
    between = "" if low is None else f" ({low:.4f} - {high:.4f})"
    return f"{name} {value:.4f}{between}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])  # type: ignore[union-attr]
    parser.add_argument("names", nargs="*", choices=[*MODELS, []])
    for name in parser.parse_args().names or MODELS:
        build(name)
    folders = [ZOO / name for name in MODELS if (ZOO / name).is_dir()]
    known = [read_checkpoint(f / "checkpoints" / "best.ckpt")["attnlab"] for f in folders]
    commits = [each["git_commit"] for each in known if each["git_commit"]]
    origin = Origin(commits, [each["data_digest"] for each in known])
    record("zoo", "Models that come with the package", "make zoo", list(table(folders)), origin)


if __name__ == "__main__":
    main()
