"""What loggers are shown of a run besides its figures over training.

Every picture of an evaluation is a file of the run's folder first: W&B can lose offline media at
a sync.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from attnlab.config.schema import Config
from attnlab.data.codec import Codec
from attnlab.data.example import Example
from attnlab.report.classes import COLUMNS as CLASS_COLUMNS
from attnlab.report.classes import read_classes
from attnlab.report.example_choice import choose_examples
from attnlab.report.examples import (
    ShownExample,
    file_name,
    gold_text,
    load_examples,
    shown_rows,
)
from attnlab.report.map_pictures import draw_maps
from attnlab.report.recorded_maps import Frame, map_history
from attnlab.report.summary import EVALUATED, Finding, Row, draw_findings, findings, plausibility
from attnlab.report.summary import FOLDER as PANELS
from attnlab.report.summary import trust as trusted
from attnlab.training.data_module import PreparedData
from attnlab.training.history import History, MapRecorder, Maps, Recorded
from attnlab.training.loggers import RunLogger, Table

GROUPS = ("answer", "attention", "blocks", "calibration", "trust", "cost")
COLUMNS = ["id", "tokens", "prediction", "gold", "right", "map", "mass_on_gold"]


def map_recorder(
    config: Config, data: PreparedData, history: History, loggers: Sequence[RunLogger]
) -> Iterator[MapRecorder]:
    """What keeps maps over training, if any are kept; of examples that the first process gets.

    None are kept of maps that a report does not show whole.
    """
    settings, trainer, codec = config.logger, config.trainer, data.prepared.codec
    if not settings.maps_every or trainer.fast_dev_run:
        return
    items = data.split("val")
    positions = range(0, len(items), trainer.devices * trainer.num_nodes)
    golds = [gold_text(items.examples[position], codec) for position in positions]
    some = (items[positions[i]] for i in choose_examples(golds, settings.maps_examples))
    chosen = [item for item in some if shown_rows(item.queries, item.keys) == item.queries]
    if not chosen:
        return
    examples = [items.examples[item.index] for item in chosen]
    recorded = {
        item.index: Recorded(example.id, item.queries, item.keys)
        for item, example in zip(chosen, examples, strict=True)
    }

    def show(maps: Maps, step: int) -> None:
        log_maps(loggers, Frame(step, maps), examples, codec)

    yield MapRecorder(history, recorded, settings.maps_every, show)


def log_maps(
    loggers: Sequence[RunLogger], frame: Frame, examples: Sequence[Example], codec: Codec
) -> None:
    """Show the maps of one step of training as pictures `val/maps/ID`."""
    if not loggers:
        return
    shown = [example for example, _ in map_history([frame], examples, codec).examples]
    with TemporaryDirectory() as folder:
        drawn = draw_maps(shown, Path(folder))
        for logger in loggers:
            logger.log_pictures({f"val/maps/{path.stem}": path for path in drawn}, frame.step)


def log_evaluation(loggers: Sequence[RunLogger], figures: dict[str, Any], folder: Path) -> None:
    """Show the figures; maps, panels and the examples with their maps; the checkpoint."""
    if not loggers:
        return
    summary = {key: value for key, value in _flat(figures) if value is not None}
    pictures = {f"maps/{p.stem}": p for p in sorted((folder / "maps").glob("*.png"))}
    panels = (folder / PANELS / f"{name}.png" for name in EVALUATED)
    pictures |= {f"panels/{path.stem}": path for path in panels if path.is_file()}
    tables = {
        "examples": _examples(folder),
        "plausibility": _table(Row, plausibility(figures)),
        "trust": _table(Row, trusted(figures)),
    }
    if classes := read_classes(folder):
        tables["classes"] = Table(CLASS_COLUMNS, classes.rows())
    for logger in loggers:
        logger.log_model(folder / "checkpoints" / "best.ckpt", figures)
        logger.log_pictures(pictures)
        logger.log_tables(tables)
        logger.log_summary(summary)


def log_findings(loggers: Sequence[RunLogger], folder: Path) -> None:
    """Show the findings of `attnlab explain` in the run of the evaluation."""
    found = findings(folder)
    if not found or not loggers:
        return
    summary = {_key(row.figure): row.value for row in found if row.value is not None}
    pictures = {f"panels/{name}": path for name, path in draw_findings(folder).items()}
    for logger in loggers:
        logger.log_pictures(pictures)
        logger.log_tables({"findings": _table(Finding, found)})
        logger.log_summary(summary)


def _key(finding: str) -> str:
    """`permuted: answers changed` -> `explain/permuted/answers_changed`: plain names for all."""
    return "explain/" + re.sub(r"[^\w/]+", "_", finding.replace(": ", "/"))


def _flat(figures: dict[str, Any]) -> Iterator[tuple[str, float | None]]:
    """Every figure by a path, its interval's ends below it."""
    for group in GROUPS:
        for name, value in figures.get(group, {}).items():
            yield f"test/{group}/{name}", value
            key = f"trust/{name}" if group == "trust" else name
            ends = figures["intervals"].get(key) if group != "cost" else None
            if ends:
                yield f"test/{group}/{name}/low", ends[0]
                yield f"test/{group}/{name}/high", ends[1]
    for group in ("controls", "answer_controls"):
        for control, values in figures[group].items():
            for name, value in values.items():
                yield f"{group}/{control}/{name}", value


def _table(kind: type[Row], rows: Sequence[Row]) -> Table:
    return Table([field.name for field in fields(kind)], [row.cells() for row in rows])


def _examples(folder: Path) -> Table:
    """Each example with its prediction, gold answer, map and weight on gold."""
    shown = load_examples(folder / "examples.json")
    return Table(
        COLUMNS, [_cells(each, folder / "maps" / f"{file_name(each.id)}.png") for each in shown]
    )


def _cells(example: ShownExample, picture: Path) -> list[Any]:
    return [
        example.id,
        " ".join(example.keys) if example.grid is None else " ".join(example.context.values()),
        example.prediction,
        example.gold,
        example.prediction == example.gold,
        picture if picture.is_file() else None,
        example.mass_on_gold(),
    ]
