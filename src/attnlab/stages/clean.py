"""`attnlab clean`: wrong labels, wrong gold maps, duplicates and leaks in a training split.

Each training example is compared with what a model says that was trained on the others (by folds):
no model agrees with a mistake because it has learned it. The doubts go to a page, and to a file
that training reads: with `dataset.annotations=FILE` it leaves out examples and gold maps in doubt.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from attnlab.config import compose
from attnlab.config.schema import Config
from attnlab.errors import UserError
from attnlab.text_files import write_whole

if TYPE_CHECKING:
    from attnlab.data.prepared import Prepared
    from attnlab.stages.doubts import Doubt
    from attnlab.stages.held_out import HeldOut

COMMAND = "find wrong labels, wrong gold maps and duplicates"
EXAMPLES = """examples:
  attnlab clean experiment=reviews                    the config is that of a training
  attnlab clean experiment=dates --folds 4 trainer.max_epochs=2
  python train.py experiment=reviews dataset.annotations=runs/clean/.../clean.jsonl
"""
FILE, PAGE = "clean.jsonl", "clean.html"


def main(arguments: list[str]) -> None:
    """Train the folds, compare, and write the file and the page."""
    parser = argparse.ArgumentParser(
        prog="attnlab clean",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="as for train.py")
    parser.add_argument("--folds", type=int, default=4, metavar="N", help="trainings (default 4)")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="where the files go")
    options = parser.parse_intermixed_args(compose.with_search_path(arguments))
    if options.folds < 2:
        raise UserError(f"--folds: {options.folds} leaves nothing to train on; try: --folds 4")
    config, plain = compose.load(options.overrides)
    stamp = f"{config.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    folder = options.output or Path(config.paths.runs) / "clean" / stamp
    folder.mkdir(parents=True, exist_ok=True)
    from attnlab.stages.doubts import examined
    from attnlab.stages.prepare import prepared_data

    prepared = prepared_data(config)
    doubts = examined(held_out(config, plain, prepared, folder, options.folds), prepared)
    write(doubts, prepared, folder, config.dataset.name)


def held_out(
    config: Config, plain: dict[str, Any], prepared: Prepared, folder: Path, parts: int
) -> list[HeldOut]:
    """What the model of its fold makes of every training example, in their order.

    Args:
        config: of the trainings, which leave `dataset.annotations` aside.
        plain: the same as plain values.
        prepared: the data.
        folder: where a folder for each fold goes; one that was trained is picked up.
        parts: how many folds.
    """
    from attnlab.stages.held_out import folds, inspect
    from attnlab.stages.run import Run
    from attnlab.stages.train import train
    from attnlab.stages.trained_run import device, load_learner

    count = len(prepared.examples("train"))
    if count < parts:
        raise UserError(f"--folds: {parts} folds of {count} examples; try: fewer")
    plain = plain | {"dataset": plain["dataset"] | {"annotations": None}}
    dataset = config.dataset.model_copy(update={"annotations": None})
    config = config.model_copy(update={"dataset": dataset})
    records: list[HeldOut] = []
    for number, positions in enumerate(folds(count, parts, config.seed)):
        run = Run(folder / f"fold-{number}", config, plain)
        if run.status.get("state") != "finished":
            print(f"fold {number + 1} of {parts}", flush=True)
            run.folder.mkdir(parents=True, exist_ok=True)
            text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
            write_whole(run.folder / "config.yaml", text)
            train(run, prepared.trained_on(sorted(set(range(count)) - set(positions))), [])
            run.set_status("finished")
        learner = load_learner(run, prepared).to(device(config))
        records += inspect(learner, prepared, config, positions)
    return sorted(records, key=lambda each: each.position)


def write(doubts: Sequence[Doubt], prepared: Prepared, folder: Path, name: str) -> None:
    """Write clean.jsonl and clean.html; print what was found and where it is."""
    from attnlab.report.sections import page
    from attnlab.stages.doubts import REASONS, sections

    lines = [json.dumps(doubt.line(), ensure_ascii=False) for doubt in doubts]
    write_whole(folder / FILE, "".join(f"{line}\n" for line in lines))
    about = f"{len(doubts)} training examples of {name}"
    write_whole(folder / PAGE, page(f"Doubts: {name}", about, list(sections(doubts, prepared))))
    counts = {what: sum(bool(getattr(d, r)) for d in doubts) for r, what in REASONS.items()}
    print(f"{about}: {', '.join(f'{count} {what}' for what, count in counts.items())}")
    print(f"{folder / PAGE}\npython train.py ... dataset.annotations={folder / FILE}")
