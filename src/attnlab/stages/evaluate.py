"""`attnlab evaluate RUN`: is the answer good, is the attention right, can it be trusted.

Of several runs on the same data it evaluates their ensemble: one model whose scores are the mean
of theirs, and whose map is the mean of their maps.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

import yaml

from attnlab.config.evaluation import Combine
from attnlab.config.section import is_name
from attnlab.errors import UserError
from attnlab.stages import trusted_plugins
from attnlab.stages.run import Run, open_run, with_changes
from attnlab.stages.run_folders import LATEST, run_folder
from attnlab.text_files import write_whole

COMMAND = "evaluate a run on its test split"
EXAMPLES = """examples:
  attnlab evaluate RUN                             as it was trained
  attnlab evaluate RUN metrics.links.share=0.35    written to RUN/evaluations/...
  attnlab evaluate RUN metrics=rationale metrics/links=top --name top
  attnlab evaluate RUN task/decoding=beam
  attnlab evaluate RUN dataset.splits.test=other.csv    on the test split of other data
  attnlab evaluate RUN task/eviction=h2o task.eviction.budget=128
  attnlab evaluate RUN RUN RUN                     as one: the mean of their probabilities
  attnlab evaluate RUN RUN RUN --combine votes
  attnlab evaluate RUN --dropout 16                one run, 16 times under dropout
  attnlab evaluate RUN --snapshots                 those of trainer/callbacks=snapshots
"""
MAY_CHANGE = ("metrics", "dataset", "task.decoding", "task.eviction", "trainer.batches.eval_size")


def main(arguments: list[str]) -> None:
    """Evaluate a trained run or several as one, also with other settings than in training."""
    parser = argparse.ArgumentParser(
        prog="attnlab evaluate",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", help="folder of the run, or folders of several")
    parser.add_argument(
        "settings", nargs="*", metavar="key=value", help=f"other {' and '.join(MAY_CHANGE)}"
    )
    parser.add_argument("--name", help="folder of the figures with other settings")
    add_combine(parser)
    add_members(parser)
    trusted_plugins.add_option(parser)
    options = parser.parse_intermixed_args(arguments)
    folders, settings = leading_runs([options.run, *options.settings])
    runs = [open_run(folder, options.trust) for folder in folders]
    run = runs[0]
    run.require_writable()
    folder, title = run.folder, run.config.name
    passes = [f"dropout={options.dropout}"] if options.dropout > 1 else []
    passes += ["snapshots"] if options.snapshots else []
    if settings or passes or len(runs) > 1:
        others = [*(str(each.folder) for each in runs[1:]), *passes]
        words = [*settings, *others, *([options.combine] if others else [])]
        run, folder = changed_run(run, settings, options.name or folder_name(words))
    from attnlab.report.tables import show_figures
    from attnlab.stages.evaluated_split import evaluate
    from attnlab.stages.trained_run import answering

    trained = answering([run, *runs[1:]], options.combine, options.dropout, options.snapshots)
    figures = evaluate(trained, folder)
    title = f"{title} and {len(runs) - 1} more as one" if len(runs) > 1 else title
    show_figures(" ".join([title, *passes]), folder, figures)
    if len(runs) > 1:
        show_members(runs, figures)
    elif run.trained_on is not None or passes:
        show_beside_own(run, figures, "on its own data" if run.trained_on else "by itself")


def add_combine(parser: argparse.ArgumentParser) -> None:
    """How several runs answer as one."""
    parser.add_argument(
        "--combine",
        choices=get_args(Combine),
        default="probabilities",
        help="of several runs: the mean of their probabilities (default) or logits, or votes",
    )


def add_members(parser: argparse.ArgumentParser) -> None:
    """How one run answers as several do."""
    parser.add_argument(
        "--dropout", type=int, default=1, metavar="N", help="N passes with dropout on, as one"
    )
    parser.add_argument(
        "--snapshots", action="store_true", help="the run's trainer/callbacks=snapshots, as one"
    )


def leading_runs(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The folders of runs that words begin with, the first whatever it is; and the rest."""
    count = 1
    while count < len(words) and _is_run(words[count]):
        count += 1
    return list(words[:count]), list(words[count:])


def _is_run(word: str) -> bool:
    with suppress(OSError, ValueError):  # of a text that no file can be called
        return word == LATEST or (run_folder(word) / "config.yaml").is_file()
    return False


def show_beside_own(run: Run, figures: dict[str, Any], own_are: str) -> None:
    """Print the first figures of answers and maps beside those that the run was given first."""
    path = run.folder / "metrics.json"
    own = json.loads(path.read_text()) if path.is_file() else {}
    for group in ("answer", "attention"):
        names = [name for name in figures.get(group, {}) if name != "loss"]
        known = (own.get(group) or {}).get(names[0]) if names else None
        if known is not None and figures[group][names[0]] is not None:
            print(f"{names[0]}: {figures[group][names[0]]:.4f} here, {known:.4f} {own_are}")


def show_members(runs: Sequence[Run], figures: dict[str, Any]) -> None:
    """Print the first figure of the answers beside that of each run alone, where it is known."""
    name = next((name for name in figures["answer"] if name != "loss"), None)
    paths = [run.folder / "metrics.json" for run in runs]
    known = [json.loads(path.read_text())["answer"].get(name) for path in paths if path.is_file()]
    alone = ", ".join(f"{value:.4f}" for value in known if value is not None)
    if name is not None and alone:
        print(f"{name} as one {figures['answer'][name]:.4f}; each alone {alone}")


def changed_run(run: Run, settings: list[str], name: str | None = None) -> tuple[Run, Path]:
    """The run with other settings, and the folder for its figures, with its config in it."""
    if name is not None and not is_name(name):
        raise UserError(f"--name: '{name}' is no name; a name is no path")
    changed = with_changes(run, settings, MAY_CHANGE)
    folder = run.folder / "evaluations" / (name or folder_name(settings))
    folder.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(changed.plain, sort_keys=False, allow_unicode=True)
    write_whole(folder / "config.yaml", text)
    return changed, folder


def folder_name(settings: list[str]) -> str:
    """A name for figures with these settings: short, and no two settings have the same."""
    words = " ".join(sorted(settings))
    name = re.sub(r"[^\w.=,+-]+", "-", words)
    digest = hashlib.sha256(words.encode()).hexdigest()[:8]
    return name if len(name) <= 80 else f"{name[:70]}-{digest}"
