"""The evaluation in W&B: the same figures and pictures as in the run's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import wandb
from lightning.pytorch.loggers.wandb import WandbLogger

from attnlab.report.examples import load_examples


def log_evaluation(logger: WandbLogger | None, figures: dict[str, Any], folder: Path) -> None:
    """The figures as summary, each map as a picture, and the examples as a table.

    A picture within a table is lost offline, so they are logged on their own.
    """
    if logger is None:
        return
    test = {f"test/{group}": figures[group] for group in ("answer", "attention", "trust", "cost")}
    controls = {f"controls/{name}": values for name, values in figures["controls"].items()}
    groups = test | controls
    flat = {f"{group}/{name}": v for group, values in groups.items() for name, v in values.items()}
    logger.experiment.summary.update(flat)
    maps = {f"maps/{path.stem}": wandb.Image(str(path)) for path in (folder / "maps").glob("*.png")}
    logger.experiment.log({**maps, "examples": _table(folder)})


def _table(folder: Path) -> wandb.Table:
    table = wandb.Table(["id", "keys", "gold", "prediction", "mass_on_gold"])
    for example in load_examples(folder / "examples.json"):
        shown = " ".join(example.keys)
        table.add_data(example.id, shown, example.gold, example.prediction, example.mass_on_gold())
    return table
