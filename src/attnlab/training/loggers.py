"""Loggers: where figures, maps and the config of a run are shown besides its own folder.

Each is built as `CLASS(run, **own_settings)` with a `LoggedRun`. All of them are shown the same,
under the same names. What a logger cannot show it leaves out. Its package is imported when it is
built, so that nobody waits for one that is not used.
"""

from __future__ import annotations

import logging
import math
import os
import re
import uuid
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from lightning.pytorch.loggers.logger import Logger

from attnlab.config.trainer import Logging
from attnlab.errors import UserError
from attnlab.training.distributed import is_first_process


@dataclass(frozen=True)
class LoggedRun:
    """The run that a logger shows."""

    folder: Path
    name: str
    project: str
    tags: Sequence[str]
    about: Mapping[str, Any]  # where it comes from; a later stage, which joins, says nothing again

    def remembered(self, logger: str, make: Callable[[], str]) -> str:
        """How a logger names this run: made once, kept in a file beside the checkpoints."""
        path = self.folder / "checkpoints" / f"{logger}_id.txt"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(make() + "\n", encoding="utf-8")
        return path.read_text(encoding="utf-8").strip()

    def config(self) -> dict[str, Any]:
        """The config and all else about the run, by flat keys such as `model.dim`."""
        about = dict(self.about)
        return {**_flat(about.pop("config", {})), **_flat(about)}


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        inner = isinstance(value, Mapping) and value
        flat |= _flat(value, f"{prefix}{key}.") if inner else {f"{prefix}{key}": value}
    return flat


class Table(NamedTuple):
    """Rows of cells; a path is a picture."""

    columns: list[str]
    rows: list[list[Any]]


class RunLogger(Logger):
    """The base class. A subclass has to say where figures go; the rest is what it can show."""

    def __init__(self, run: LoggedRun) -> None:
        super().__init__()
        self.run = run

    @property
    def name(self) -> str:
        return type(self).__name__

    @property
    def version(self) -> str:
        return ""

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *rest: Any, **more: Any) -> None:
        """The config is known from the start: `LoggedRun.config`."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Figures over training, such as `train/loss` and `val/exact_match`."""
        raise NotImplementedError

    def log_pictures(self, pictures: Mapping[str, Path], step: int | None = None) -> None:
        """Pictures by name; those over training have a step."""

    def log_summary(self, figures: Mapping[str, float]) -> None:
        """Figures that a run has once, such as `test/answer/exact_match`."""

    def log_tables(self, tables: Mapping[str, Table]) -> None:
        """Tables by name; their figures are in the summary, too."""

    def log_model(self, checkpoint: Path, figures: Mapping[str, Any]) -> None:
        """The best checkpoint, with the figures of its evaluation."""

    def forget_from(self, step: int) -> None:
        """A resumed run logs figures from this step on again."""

    def finish(self, failed: bool) -> None:
        """The run has ended, well or not."""


@contextmanager
def connected(
    settings: Logging, folder: Path, name: str, about: Mapping[str, Any]
) -> Iterator[list[RunLogger]]:
    """The loggers of a run, on the first process alone; they hear how the run ends.

    A logger that is built for the same folder again goes on with the same run.

    Raises:
        UserError: a package is missing, or an account.
    """
    tags = list(dict.fromkeys([*settings.tags, *re.split(r"[-+]", name)]))
    run = LoggedRun(folder, name, settings.project, tags, about)
    loggers: list[RunLogger] = []
    failed = True
    try:
        for each in settings.loggers.values() if is_first_process() else ():
            if each.enabled:
                loggers.append(each.build(run))
        yield loggers
        failed = False
    finally:
        for logger in loggers:
            logger.finish(failed)


def missing_package(logger: str, package: str) -> UserError:
    """One line that says how to get the package of a logger."""
    return UserError(
        f"logger={logger}: needs {package}; try: pip install 'attnlab[{logger}]', or logger=files"
    )


class TensorBoard(RunLogger):
    """Event files in the run's folder, one for each time that it is resumed."""

    def __init__(self, run: LoggedRun) -> None:
        super().__init__(run)
        try:
            from torch.utils.tensorboard.summary import hparams
            from torch.utils.tensorboard.writer import SummaryWriter
        except ImportError:
            raise missing_package("tensorboard", "tensorboard") from None
        folder = run.folder / "tensorboard"
        self.resumed = folder.is_dir()
        self.writer = SummaryWriter(str(folder))
        if run.about:
            config = {
                key: value if isinstance(value, bool | int | float | str) else str(value)
                for key, value in (run.config() | {"tags": ", ".join(run.tags)}).items()
            }
            for summary in hparams(config, {})[:2]:  # the experiment, and the start of the run
                self.writer._get_file_writer().add_summary(summary)

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        for key, value in metrics.items():
            self.writer.add_scalar(key, value, step)

    def log_pictures(self, pictures: Mapping[str, Path], step: int | None = None) -> None:
        import numpy as np
        from PIL import Image

        for key, path in pictures.items():
            pixels = np.asarray(Image.open(path).convert("RGB"))
            self.writer.add_image(key, pixels, step, dataformats="HWC")

    def log_summary(self, figures: Mapping[str, float]) -> None:
        self.log_metrics(dict(figures), 0)

    def forget_from(self, step: int) -> None:
        if self.resumed:
            self.writer.purge_step = step
            self.writer.close()  # the next event opens a file that begins with this step

    def finish(self, failed: bool) -> None:
        self.writer.close()


class MLflow(RunLogger):
    """A run of the MLflow experiment that the project names."""

    def __init__(self, run: LoggedRun, *, uri: str) -> None:
        super().__init__(run)
        # Nothing leaves the machine unasked.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        try:
            from mlflow.exceptions import MlflowException
            from mlflow.tracking import MlflowClient
        except ImportError:
            raise missing_package("mlflow", "mlflow") from None
        logging.getLogger("mlflow").setLevel(logging.WARNING)  # not a line for each table
        self.pictures: str | None = None  # where a server keeps them, it decides
        if uri.startswith("sqlite:///"):
            database = Path(uri.removeprefix("sqlite:///")).absolute()
            database.parent.mkdir(parents=True, exist_ok=True)
            self.pictures = database.with_suffix("").as_uri()
        try:
            self.client = MlflowClient(tracking_uri=uri)
            self.id = run.remembered("mlflow", self._new_run)
            known = self.client.get_run(self.id).data.params
        except MlflowException as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"logger.loggers.mlflow.uri: {uri}: {reason}") from None
        self.client.update_run(self.id, status="RUNNING")
        for key, value in run.config().items():
            if key not in known:  # what is there cannot change
                self.client.log_param(self.id, key, value)

    def _new_run(self) -> str:
        experiment = self.client.get_experiment_by_name(self.run.project)
        if experiment is None:
            id_ = self.client.create_experiment(self.run.project, self.pictures)
        else:
            id_ = experiment.experiment_id
        tags = dict.fromkeys(self.run.tags, "true")
        return self.client.create_run(id_, run_name=self.run.name, tags=tags).info.run_id

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        import time

        from mlflow.entities import Metric

        now = round(1000 * time.time())
        logged = [Metric(key, float(value), now, step or 0) for key, value in metrics.items()]
        self.client.log_batch(self.id, logged)

    def log_pictures(self, pictures: Mapping[str, Path], step: int | None = None) -> None:
        from PIL import Image

        for key, path in pictures.items():
            if step is None:
                folder = Path(key).parent.as_posix()
                self.client.log_artifact(self.id, str(path), folder)
            else:
                self.client.log_image(self.id, Image.open(path), key=key, step=step)

    def log_summary(self, figures: Mapping[str, float]) -> None:
        self.log_metrics(dict(figures))

    def finish(self, failed: bool) -> None:
        self.client.set_terminated(self.id, "FAILED" if failed else "FINISHED")


class Trackio(RunLogger):
    """Trackio's local dashboard."""

    def __init__(self, run: LoggedRun, *, folder: str, system_metrics: bool) -> None:
        super().__init__(run)
        os.environ["TRACKIO_DIR"] = str(Path(folder).absolute())  # read as it is imported
        try:
            import trackio  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise missing_package("trackio", "trackio") from None
        name = run.remembered("trackio", lambda: f"{run.name}-{uuid.uuid4().hex[:8]}")
        config = run.config() | {"tags": list(run.tags)}
        self.trackio = trackio.init(
            project=run.project,
            name=name,
            config=config if run.about else None,
            resume="allow",
            embed=False,
            auto_log_gpu=system_metrics,
            auto_log_cpu=system_metrics,
        )

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.trackio.log({k: v for k, v in metrics.items() if math.isfinite(v)}, step=step)

    def log_pictures(self, pictures: Mapping[str, Path], step: int | None = None) -> None:
        import trackio  # pyright: ignore[reportMissingImports]

        self.trackio.log({k: trackio.Image(str(p)) for k, p in pictures.items()}, step=step)

    def log_summary(self, figures: Mapping[str, float]) -> None:
        self.log_metrics(dict(figures))

    def finish(self, failed: bool) -> None:
        self.trackio.finish()
