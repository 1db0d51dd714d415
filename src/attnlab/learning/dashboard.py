"""W&B: the same figures and pictures as in the run's folder, offline unless asked otherwise."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.wandb import WandbLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from attnlab.config.schema import Logger as Settings

Entries = dict[str, Any]


def connect(
    settings: Settings, folder: Path, name: str, run_id: str, about: dict[str, Any]
) -> WandbLogger | None:
    """The logger of a run, on the first process alone; None where W&B is disabled."""
    if settings.wandb == "disabled" or rank_zero_only.rank != 0:
        return None
    import wandb

    os.environ.setdefault("WANDB_SILENT", "true")
    logger = WandbLogger(
        name=name,
        save_dir=folder,
        id=run_id,
        project=settings.project,
        entity=settings.entity,
        offline=settings.wandb == "offline",
        tags=settings.tags,
        resume="allow",
        settings=wandb.Settings(
            console="off",  # neither what is printed,
            save_code=False,  # nor the code,
            x_disable_meta=True,  # nor the machine, its user or the environment
            x_disable_stats=True,
            x_disable_machine_info=True,
            quiet=True,
            silent=True,
        ),
    )
    logger.experiment.config.update(about, allow_val_change=True)
    logger.experiment.define_metric("*", step_metric="trainer/global_step")
    return logger


@contextmanager
def closed_at_end(logger: WandbLogger | None) -> Iterator[None]:
    """W&B hears how the run ended: a crash would otherwise count as finished."""
    try:
        yield
    except BaseException:
        if logger is not None:
            logger.experiment.finish(exit_code=1)
        raise
    if logger is not None:
        logger.experiment.finish(exit_code=0)


def log_evaluation(logger: WandbLogger | None, figures: Entries, folder: Path) -> None:
    """The figures as summary, each map as a picture, and the examples as a table."""
    if logger is None:
        return
    import wandb

    from attnlab.report.examples import load_examples

    run = logger.experiment
    for group in ("answer", "attention", "trust", "cost"):
        for name, value in figures[group].items():
            run.summary[f"test/{group}/{name}"] = value
    for control, values in figures["controls"].items():
        for name, value in values.items():
            run.summary[f"controls/{control}/{name}"] = value
    pictures = [wandb.Image(str(path)) for path in sorted((folder / "maps").glob("*.png"))]
    columns = ["id", "keys", "gold", "prediction", "mass_on_gold"]
    table = wandb.Table(columns=columns)
    for example in load_examples(folder / "examples.json"):
        shown = " ".join(example.keys)
        table.add_data(example.id, shown, example.gold, example.prediction, example.mass_on_gold())
    run.log({"maps": pictures, "examples": table})
