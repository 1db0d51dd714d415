"""An evaluated run in W&B, with the figures and pictures of its folder.

Every logged picture is a file of the folder first: W&B can lose offline media at a sync.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import wandb
from lightning.pytorch.loggers.wandb import WandbLogger

from attnlab.report.examples import ShownExample, load_examples
from attnlab.report.summary import Finding, Row, draw_findings, draw_panels, findings, plausibility
from attnlab.report.summary import trust as trusted
from attnlab.training.wandb_artifacts import make_model

GROUPS = ("answer", "attention", "trust", "cost")
COLUMNS: list[str | int] = ["id", "tokens", "prediction", "gold", "right", "map", "mass_on_gold"]


def log_evaluation(logger: WandbLogger, figures: dict[str, Any], folder: Path) -> None:
    """The figures; maps, panels and the examples with their maps; the checkpoint."""
    make_model(logger.experiment, folder / "checkpoints" / "best.ckpt", figures)
    logger.experiment.log(  # the summary of a run is what it logs last
        {
            **{key: value for key, value in _flat(figures) if value is not None},
            **_pictures({f"maps/{p.stem}": p for p in sorted((folder / "maps").glob("*.png"))}),
            **_pictures({f"panels/{n}": p for n, p in draw_panels(figures, folder).items()}),
            "examples": _examples(folder),
            "plausibility": _table(Row, plausibility(figures)),
            "trust": _table(Row, trusted(figures)),
        }
    )


def log_findings(logger: WandbLogger, folder: Path) -> None:
    """Log the findings of `attnlab explain` to the run of the evaluation."""
    found = findings(folder)
    if not found:
        return
    values = {_key(row.figure): row.value for row in found if row.value is not None}
    pictures = {f"panels/{name}": path for name, path in draw_findings(folder).items()}
    logger.experiment.log({**values, **_pictures(pictures), "findings": _table(Finding, found)})


def _key(finding: str) -> str:
    """`permuted: answers changed` -> `explain/permuted/answers_changed`: W&B wants plain names."""
    return "explain/" + re.sub(r"[^\w/]+", "_", finding.replace(": ", "/"))


def _flat(figures: dict[str, Any]) -> Iterator[tuple[str, float | None]]:
    """Every figure by a path, its interval's ends below it."""
    for group in GROUPS:
        for name, value in figures[group].items():
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


def _pictures(paths: dict[str, Path]) -> dict[str, wandb.Image]:
    return {key: wandb.Image(str(path)) for key, path in paths.items()}


def _table(kind: type[Row], rows: Sequence[Row]) -> wandb.Table:
    columns: list[str | int] = [field.name for field in fields(kind)]
    return wandb.Table(columns, [row.cells() for row in rows])


def _examples(folder: Path) -> wandb.Table:
    """Each example with its prediction, gold answer, map and weight on gold."""
    table = wandb.Table(COLUMNS)
    for example in load_examples(folder / "examples.json"):
        table.add_data(*_cells(example, folder / "maps" / f"{example.id}.png"))
    return table


def _cells(example: ShownExample, picture: Path) -> list[Any]:
    return [
        example.id,
        " ".join(example.keys) if example.grid is None else " ".join(example.context.values()),
        example.prediction,
        example.gold,
        example.prediction == example.gold,
        wandb.Image(str(picture)) if picture.is_file() else None,
        example.mass_on_gold(),
    ]
