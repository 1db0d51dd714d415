"""W&B: the figures of a run as it goes, offline unless asked otherwise.

W&B itself takes a second to import: whoever does without it does not wait for it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch.loggers.wandb import WandbLogger

from attnlab.config.schema import Logger as Settings
from attnlab.errors import UserError
from attnlab.training.distributed import is_first_process

if TYPE_CHECKING:
    import wandb

Entries = dict[str, Any]
STEP = "trainer/global_step"


def connect(
    settings: Settings, folder: Path, name: str, run_id: Callable[[], str], about: Entries
) -> WandbLogger | None:
    """The logger of a run, on the first process alone; None where W&B is disabled.

    Asked there alone, the same id goes on with the same W&B run. Only `about` tells where the
    run comes from; its data are what the run used.
    """
    if settings.wandb == "disabled" or not is_first_process():
        return None
    import wandb
    from wandb.errors import Error as WandbError

    from attnlab.training.wandb_artifacts import use_data

    os.environ.setdefault("WANDB_DATA_DIR", str((folder / "wandb").absolute()))  # not in $HOME
    try:
        if settings.wandb == "online" and not wandb.login(prompt=False):
            raise UserError("logger.wandb: online needs an account; try: wandb login")
        run = wandb.init(
            name=name,
            dir=folder,
            id=run_id(),
            project=settings.project,
            entity=settings.entity,
            mode=settings.wandb,
            tags=settings.tags,
            config=about,
            resume="allow",
            allow_val_change=True,
            settings=_discreet(),
        )
    except WandbError as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"logger.wandb: no {settings.wandb} run ({reason}); try: logger.wandb=offline"
        ) from None
    # W&B counts its own steps and drops figures that go back; ours are a figure beside them.
    run.define_metric(STEP)
    run.define_metric("*", step_metric=STEP, step_sync=True)
    if "data_digest" in about:
        use_data(run, about)
    return WandbLogger(experiment=run, project=settings.project, save_dir=folder)


def _discreet() -> wandb.Settings:
    """Nothing of the machine, its user, its environment, its packages, or what is printed."""
    import wandb

    return wandb.Settings(
        console="off",
        disable_git=True,  # the address of a remote may hold a password
        host="",
        quiet=True,
        save_code=False,
        silent=True,
        x_disable_machine_info=True,
        x_disable_meta=True,
        x_disable_stats=True,
        x_save_requirements=False,
    )


@contextmanager
def closed_at_end(logger: WandbLogger | None) -> Iterator[None]:
    """W&B hears how the run ended: a crash would otherwise count as finished."""
    if logger is None:
        yield
        return
    try:
        yield
    except BaseException:
        logger.experiment.finish(exit_code=1)
        raise
    logger.experiment.finish(exit_code=0)
