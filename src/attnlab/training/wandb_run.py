"""W&B: the figures of a run as it goes, offline unless asked otherwise.

W&B itself takes a second to import: whoever does without it does not wait for it.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from attnlab.compat import wandb_relative_artifacts, wandb_use_artifact
from attnlab.errors import UserError
from attnlab.training.loggers import LoggedRun, RunLogger, Table

if TYPE_CHECKING:
    import wandb

STEP = "trainer/global_step"
WHERE = "logger.loggers.wandb.mode"
STAGING = "WANDB_DATA_DIR"


class Wandb(RunLogger):
    """A W&B run. The same id goes on with the same run; its data are what the run used."""

    def __init__(
        self,
        run: LoggedRun,
        *,
        mode: Literal["offline", "online"],
        entity: str | None,
        system_metrics: bool,
    ) -> None:
        super().__init__(run)
        with ExitStack() as stack:
            stack.enter_context(_staging_in(run.folder / "wandb"))
            self.wandb = _begin(run, mode, entity, system_metrics)
            self.staging = stack.pop_all()
        # W&B counts its own steps and drops figures that go back; ours are a figure beside them.
        self.wandb.define_metric(STEP)
        self.wandb.define_metric("*", step_metric=STEP, step_sync=True)
        if "data_digest" in run.about:
            _use_data(self.wandb, run.about)

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        self.wandb.log(dict(metrics) | ({} if step is None else {STEP: step}))

    def log_pictures(self, pictures: Mapping[str, Path], step: int | None = None) -> None:
        self.log_metrics({key: _cell(path) for key, path in pictures.items()}, step)

    def log_summary(self, figures: Mapping[str, float]) -> None:
        self.wandb.summary.update(dict(figures))

    def log_tables(self, tables: Mapping[str, Table]) -> None:
        import wandb

        made = {
            key: wandb.Table(list(columns), [[_cell(each) for each in row] for row in rows])
            for key, (columns, rows) in tables.items()
        }
        self.wandb.log(made)

    def log_model(self, checkpoint: Path, figures: Mapping[str, Any]) -> None:
        _log_model(self.wandb, checkpoint, figures)

    def finish(self, failed: bool) -> None:
        """A crash would otherwise count as finished."""
        with self.staging:
            self.wandb.finish(exit_code=int(failed))


@contextmanager
def _staging_in(folder: Path) -> Iterator[None]:
    """W&B copies files of artifacts to $HOME first, unless its variable names another folder."""
    if STAGING in os.environ:
        yield
        return
    os.environ[STAGING] = str(folder.absolute())
    try:
        yield
    finally:
        del os.environ[STAGING]  # the next run of the process has a folder of its own


def _begin(
    run: LoggedRun, mode: Literal["offline", "online"], entity: str | None, system_metrics: bool
) -> wandb.Run:
    """Begin the W&B run, or go on with it."""
    import wandb
    from wandb.errors import Error as WandbError

    try:
        if mode == "online" and not wandb.login(prompt=False):
            raise UserError(f"{WHERE}: online needs an account; try: wandb login")
        begun = wandb.init(
            name=run.name,
            group=run.name,  # runs that differ in seeds and numbers alone
            dir=run.folder,
            id=run.remembered("wandb", _new_id),
            project=run.project,
            entity=entity,
            mode=mode,
            tags=run.tags,
            config=run.config(),
            resume="allow",
            allow_val_change=True,
            settings=_discreet(system_metrics),
        )
    except WandbError as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{WHERE}: no {mode} run ({reason}); try: {WHERE}=offline") from None
    if mode == "offline":
        wandb_relative_artifacts(begun)
    return begun


def _new_id() -> str:
    """The id that the agent of a W&B sweep gave to the process; one of our own without an agent."""
    return os.environ.get("WANDB_RUN_ID") or uuid.uuid4().hex[:8]


def _cell(value: Any) -> Any:
    """A path is a picture."""
    import wandb

    return wandb.Image(str(value)) if isinstance(value, Path) else value


def _discreet(system_metrics: bool) -> wandb.Settings:
    """Nothing of the machine, its user, its environment, its packages, or what is printed."""
    import wandb

    return wandb.Settings(
        console="off",
        disable_git=True,  # the address of a remote may hold a password
        host="",
        quiet=True,
        save_code=False,
        silent=True,
        x_disable_machine_info=not system_metrics,  # it would leave out the stats as well
        x_disable_meta=True,
        x_disable_stats=not system_metrics,
        x_save_requirements=False,
    )


def _use_data(run: wandb.Run, about: Mapping[str, Any]) -> None:
    """The run's data as its input: only their hash and the settings that make them."""
    import wandb

    settings, digest = about["config"]["dataset"], about["data_digest"]
    made = {"digest": digest, "settings": settings}
    artifact = wandb.Artifact(f"dataset-{settings['name']}", type="dataset", metadata=made)
    with artifact.new_file("dataset.json") as file:
        json.dump(made, file, indent=2, sort_keys=True, default=str)
    wandb_use_artifact(run, artifact, aliases=[digest[:12]])


def _log_model(run: wandb.Run, checkpoint: Path, figures: Mapping[str, Any]) -> None:
    """The best checkpoint as the run's output, with the figures it has on the test split."""
    import wandb

    if not checkpoint.is_file():
        return
    metadata = {group: figures[group] for group in ("answer", "attention", "trust")}
    artifact = wandb.Artifact(f"model-{run.id}", type="model", metadata=metadata)
    artifact.add_file(str(checkpoint))
    run.log_artifact(artifact, aliases=["best"])
