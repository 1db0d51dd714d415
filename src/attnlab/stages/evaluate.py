"""`attnlab evaluate RUN`: is the answer good, is the attention right, can it be trusted."""

from __future__ import annotations

import argparse
import hashlib
import re
from pathlib import Path

import yaml

from attnlab.config.section import is_name
from attnlab.errors import UserError
from attnlab.stages import trusted_plugins
from attnlab.stages.run import Run, open_run, with_changes
from attnlab.text_files import write_whole

COMMAND = "evaluate a run on its test split"
EXAMPLES = """examples:
  attnlab evaluate RUN                             as it was trained
  attnlab evaluate RUN metrics.links.share=0.35    written to RUN/evaluations/...
  attnlab evaluate RUN metrics=rationale metrics/links=top --name top
  attnlab evaluate RUN task/decoding=beam
"""
MAY_CHANGE = ("metrics", "task.decoding", "trainer.batches.eval_size")


def main(arguments: list[str]) -> None:
    """Evaluate a trained run, also with other settings than it was trained with."""
    parser = argparse.ArgumentParser(
        prog="attnlab evaluate",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", help="folder of the run")
    parser.add_argument(
        "settings", nargs="*", metavar="key=value", help=f"other {' and '.join(MAY_CHANGE)}"
    )
    parser.add_argument("--name", help="folder of the figures with other settings")
    trusted_plugins.add_option(parser)
    options = parser.parse_intermixed_args(arguments)
    run = open_run(options.run, options.trust)
    run.require_writable()
    folder = run.folder
    if options.settings:
        run, folder = changed_run(run, options.settings, options.name)
    from attnlab.report.tables import show_figures
    from attnlab.stages.evaluated_split import evaluate
    from attnlab.stages.trained_run import TrainedRun

    show_figures(run.config.name, folder, evaluate(TrainedRun(run), folder))


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
