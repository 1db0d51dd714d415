"""`python train.py`: the stages of a run in their order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.exceptions import SIGTERMException

from attnlab.config.schema import Config
from attnlab.data.prepared import Prepared
from attnlab.errors import (
    ConfigError,
    InterruptedRunError,
    Mistake,
    RunError,
    StopSignalError,
    UserError,
    suggest,
)
from attnlab.models.tuning import trained_parameters
from attnlab.report.logged import log_evaluation, map_recorder
from attnlab.report.tables import show_figures
from attnlab.stages import report
from attnlab.stages.evaluated_split import evaluate
from attnlab.stages.prepare import prepared_data
from attnlab.stages.run import Run
from attnlab.stages.run_start import resume_command, start
from attnlab.stages.trained_run import (
    TrainedRun,
    build_learner,
    device,
    load_teacher,
    read_fitting,
    start_from_other,
)
from attnlab.text_files import WRONG_CONTENT, problem
from attnlab.training import distributed
from attnlab.training.checkpoint import provenance
from attnlab.training.data_module import PreparedData
from attnlab.training.history import History
from attnlab.training.learner import Learner
from attnlab.training.loggers import RunLogger, connected
from attnlab.training.progress import Cost
from attnlab.training.safety import is_out_of_memory, out_of_memory
from attnlab.training.trainer import build_trainer, seed_everything

FROM_CONFIG = "prepare, train, evaluate and report"


def main(config: Config, plain: dict[str, Any], overrides: Sequence[str]) -> Run | None:
    """What `stages` names, in one run's folder, which is returned if there is a training."""
    prepared = prepared_data(config) if "prepare" in config.stages else None
    if "train" not in config.stages:
        return None
    run = start(config, plain, overrides)
    with run.tracked(), _stops_reported(overrides):
        prepared = prepared or prepared_data(config)
        about = provenance(plain, prepared.digest)
        run.set_status("running", **{name: about[name] for name in about if name != "config"})
        with connected(config.logger, run.folder, config.name, about) as loggers:
            train(run, prepared, overrides, loggers)
            if distributed.is_first_process():
                finish(run, loggers)
    if config.trainer.fast_dev_run and distributed.is_first_process():
        print("ok")
    return run


@contextmanager
def _stops_reported(overrides: Sequence[str]) -> Iterator[None]:
    """A stop that saved nothing ends with the command that goes on from the last checkpoint."""
    again = f"\n  go on with: {resume_command(overrides)}"
    try:
        yield
    except SIGTERMException:  # where Lightning alone listens
        raise InterruptedRunError(f"stopped by SIGTERM{again}") from None
    except StopSignalError as error:
        raise InterruptedRunError(f"{error}{again}") from None
    except (KeyboardInterrupt, SystemExit):  # Lightning makes the second of the first
        raise InterruptedRunError(f"stopped by Ctrl-C at once{again}") from None


def train(
    run: Run, prepared: Prepared, overrides: Sequence[str], loggers: Sequence[RunLogger] = ()
) -> None:
    """Fit the model, from the last checkpoint if there is one."""
    config, settings = run.config, run.config.trainer
    seed_everything(config.seed, settings)
    data = PreparedData(prepared, config.dataset, settings, config.seed)
    learner = build_learner(run, prepared, data.total_steps())
    _require_monitored(settings.checkpoints.monitor, learner)
    learner.task.see_answers(item.answer for item in data.split("train"))
    learner.teacher = load_teacher(run, data)
    history = History(run.folder / "history")
    checkpoint = _checkpoint_to_resume(run, learner, prepared, [history, *loggers])
    if checkpoint is None:
        start_from_other(learner, run, prepared)
    again = resume_command(overrides)
    cost = Cost(device(config))
    callbacks = [cost, *map_recorder(config, data, history, loggers)]
    trainer = build_trainer(settings, run.folder, [history, *loggers], again, callbacks)
    try:
        trainer.fit(learner, data, ckpt_path=checkpoint, weights_only=True)
        trainer.save_checkpoint(run.last_checkpoint)
    except Exception as error:
        if is_out_of_memory(error):
            raise out_of_memory(error) from error
        restoring = checkpoint is not None and not learner.started
        if restoring and isinstance(error, MisconfigurationException):
            raise UserError(f"trainer.max_epochs: {checkpoint} has trained more already") from error
        if restoring and isinstance(error, (*WRONG_CONTENT, RuntimeError)):
            raise UserError(
                f"{checkpoint}: does not fit this training ({problem(error)}); try: resume=never"
            ) from error
        raise
    finally:
        trained = trained_parameters(learner.model)
        run.set_status("running", trained_parameters=trained, **cost.spent())
    distributed.part()


def _require_monitored(monitor: str, learner: Learner) -> None:
    """Raise a `ConfigError` for a figure that no validation has, before anything is trained."""
    figures = [f"val/{name}" for name in learner.evaluator.names()]
    if monitor not in figures:
        hint = suggest(monitor, figures)
        raise ConfigError([Mistake("trainer.checkpoints.monitor", f"no figure '{monitor}'", hint)])


def finish(run: Run, loggers: Sequence[RunLogger]) -> None:
    """What is left when the model is trained: evaluate it, report it, say where everything is."""
    if "evaluate" not in run.config.stages:
        return
    figures = evaluate(TrainedRun(run))
    log_evaluation(loggers, figures, run.folder)
    if "report" in run.config.stages:
        report.write([run], run.folder / "report.html")
    show_figures(run.config.name, run.folder, figures)


def _checkpoint_to_resume(
    run: Run, learner: Learner, prepared: Prepared, loggers: Sequence[History | RunLogger]
) -> Path | None:
    path = run.last_checkpoint
    if run.config.resume == "never" or not path.is_file():
        for logger in loggers:  # what a run left that was killed before its first checkpoint
            logger.forget_from(0)
        return None
    content = read_fitting(path, learner)
    digest = content["attnlab"]["data_digest"]
    if digest != prepared.digest:
        raise RunError(
            f"{path}: trained on other data (hash {digest[:12]}, now {prepared.digest[:12]})"
            "\n  try: resume=never, or put the old data back"
        )
    step = content.get("global_step")
    if not isinstance(step, int) or not isinstance(content.get("optimizer_states"), list):
        raise UserError(f"{path}: no state of a training in it; try: resume=never")
    for logger in loggers:
        logger.forget_from(step)
    print(f"resuming {run.folder} at step {step}")
    return path
