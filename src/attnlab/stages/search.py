"""`python train.py hparams=NAME`: a search over settings with Optuna, each trial a job of a sweep.

The study lives in a file, so the same command goes on where it stopped: trials that were cut off
are taken up again, and trials that are finished count. Trials are compared by a figure of the
validation split; the test split is not looked at (`evaluate` is for the settings that won).
"""

from __future__ import annotations

import csv
import math
import shlex
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from attnlab.compat import optuna_reopened
from attnlab.config.schema import Config, Hparams
from attnlab.errors import ConfigError, RunError, UserError, suggest
from attnlab.stages.executors import Processes
from attnlab.stages.fork_server import held
from attnlab.stages.run import fingerprint
from attnlab.stages.search_space import check, draw, override
from attnlab.stages.sweep import Sweep
from attnlab.stages.sweep_table import LiveTable, Outcome, announce

try:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend
    from optuna.trial import FrozenTrial, Trial, TrialState
except ModuleNotFoundError:
    raise UserError("hparams: needs Optuna; try: pip install 'attnlab[sweep]'") from None

MINE = ("hparams", "~hparams", "resume=", "stages=", "paths.run=")  # not for the trials
TRIAL = ("stages=[prepare,train]", "~hparams")


def main(config: Config, plain: dict[str, Any], overrides: Sequence[str]) -> None:
    """Search, and show what was found."""
    settings = config.hparams
    assert settings is not None
    others = (*MINE, *(f"{key}=" for key in settings.search))
    base = [word for word in overrides if not word.startswith(others)]
    check(settings.search, base)
    folder = Path(config.paths.runs) / "hparams" / settings.name
    folder.mkdir(parents=True, exist_ok=True)
    with held(folder / ".lock") as mine:
        if not mine:
            raise UserError(f"hparams.name: another process is at the study in {folder}")
        study = open_study(settings, folder, fingerprint(plain), config.seed)
        Search(settings, study, folder, base).run()
        show(study, settings, base)


def open_study(settings: Hparams, folder: Path, mark: str, seed: int) -> optuna.Study:
    """The study of that name, new or as it was left."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruners = {"none": optuna.pruners.NopPruner, "median": optuna.pruners.MedianPruner}
    storage = JournalStorage(JournalFileBackend(str(folder / "study.log")))
    known = [summary.study_name for summary in storage.get_all_studies()]
    before = len(optuna.load_study(study_name=known[0], storage=storage).trials) if known else 0
    study = optuna.create_study(
        study_name=settings.name,
        storage=storage,
        sampler=optuna.samplers.TPESampler(seed=seed + before),  # not the same draws once more
        pruner=pruners[settings.pruner](),
        direction=settings.direction,
        load_if_exists=True,
    )
    asked = {"search": settings.search, "monitor": settings.monitor, "config": mark}
    earlier = study.user_attrs.get("asked", asked)
    differing = [key for key in asked if asked[key] != earlier[key]]
    if differing or study.direction.name.lower() != settings.direction:
        raise UserError(
            f"hparams.name: the study '{settings.name}' in {folder} was made with another "
            f"{differing[0] if differing else 'direction'}; try: hparams.name={settings.name}-2"
        )
    study.set_user_attr("asked", asked)
    return study


class Search:
    """Trials side by side, each told to the study when it ends."""

    def __init__(
        self, settings: Hparams, study: optuna.Study, folder: Path, base: Sequence[str]
    ) -> None:
        self.settings, self.study, self.base = settings, study, list(base)
        self.sweep = Sweep(folder, Processes(settings.jobs))
        self.composing = threading.Lock()  # Hydra composes one config at a time

    def run(self) -> None:
        """Take up the trials that were cut off, then start as many as are left to do."""
        trials = self.study.trials
        cut_off = [trial for trial in trials if trial.state == TrialState.RUNNING]
        done = sum(trial.state.is_finished() for trial in trials)
        left = max(self.settings.trials - done - len(cut_off), 0)
        again = f", {len(cut_off)} to go on with" if cut_off else ""
        print(f"study {self.study.study_name}: {done} trials done{again}, {left} new", flush=True)
        starts: list[Callable[[], Trial]] = [lambda t=t: self._reopen(t) for t in cut_off]
        starts += [self.study.ask] * left
        with ThreadPoolExecutor(self.settings.jobs) as pool:
            futures = [pool.submit(self._trial, start) for start in starts]
            with self.sweep.stoppable(pool), LiveTable(self.sweep.outcomes).shown():
                for future in as_completed(futures):
                    announce(future.result())

    def _reopen(self, trial: FrozenTrial) -> Trial:
        """The same trial once more: what it was given stays, and its job goes on."""
        return optuna_reopened(self.study, trial)

    def _trial(self, start: Callable[[], Trial]) -> Outcome:
        trial = start()
        space = self.settings.search
        chosen = [override(key, draw(trial, key, space[key])) for key in space]
        name = f"trial {trial.number}: {' '.join(chosen)}"
        try:
            with self.composing:
                [job] = self.sweep.plan([[*chosen, *self.base, *TRIAL]])
        except ConfigError as error:  # each value is right, but not beside the others
            self.study.tell(trial, state=TrialState.FAIL)
            return Outcome(name, "", "failed", message=str(error))
        progress = Progress(trial, job.folder, self.settings)
        outcome = self.sweep.run_one(replace(job, name=name), progress.is_hopeless)
        return self.sweep.note(self._told(trial, outcome, progress))

    def _told(self, trial: Trial, outcome: Outcome, progress: Progress) -> Outcome:
        """Tell the study how the trial ended. One that was stopped has not ended."""
        if progress.hopeless:
            self.study.tell(trial, state=TrialState.PRUNED)
            return replace(outcome, state="pruned", message="")
        if outcome.state == "failed":
            self.study.tell(trial, state=TrialState.FAIL)
        elif outcome.state in ("finished", "skipped"):
            best = progress.best()
            if best is None:
                self.study.tell(trial, state=TrialState.FAIL)
                return replace(outcome, state="failed", message=f"{self.settings.monitor} is nan")
            self.study.tell(trial, best)
            return replace(outcome, figures={self.settings.monitor: best})
        return outcome


class Progress:
    """The validations of a trial, read from its folder while it runs."""

    def __init__(self, trial: Trial, folder: Path, settings: Hparams) -> None:
        self.trial, self.settings = trial, settings
        split, _, self.name = settings.monitor.partition("/")
        self.path = folder / "history" / f"{split}.csv"
        self.reported = 0
        self.hopeless = False

    def is_hopeless(self) -> bool:
        """Whether the pruner gives the trial up; asked every now and then."""
        if self.settings.pruner != "none":
            values = self._values()
            for step in range(self.reported, len(values)):
                self.trial.report(values[step], step)
            self.reported = len(values)
            self.hopeless = self.hopeless or (bool(values) and self.trial.should_prune())
        return self.hopeless

    def best(self) -> float | None:
        """The best value of all validations; None if none of them is a number."""
        columns = [name for row in self._rows()[:1] for name in row if name != "step"]
        if self.name not in columns:
            hint = suggest(self.settings.monitor, [f"{self.path.stem}/{c}" for c in columns])
            raise UserError(f"hparams.monitor: no figure '{self.settings.monitor}'; {hint}")
        choose = min if self.settings.direction == "minimize" else max
        return choose(self._values(), default=None)

    def _values(self) -> list[float]:
        values = [float(row[self.name]) for row in self._rows() if row.get(self.name)]
        return [value for value in values if math.isfinite(value)]

    def _rows(self) -> list[dict[str, str]]:
        """Whole lines: the run may be at the next one just now."""
        text = self.path.read_text(encoding="utf-8") if self.path.is_file() else ""
        return list(csv.DictReader(text[: text.rfind("\n") + 1].splitlines()))


def show(study: optuna.Study, settings: Hparams, base: Sequence[str]) -> None:
    """The trials, best first, and the command that runs the best one."""
    sign = 1 if settings.direction == "minimize" else -1
    complete = study.get_trials(states=[TrialState.COMPLETE])
    complete.sort(key=lambda trial: sign * (trial.value or 0.0))
    others = [trial for trial in study.trials if trial.state != TrialState.COMPLETE]
    table = Table("trial", "state", settings.monitor, *settings.search, "seconds")
    for trial in [*complete, *others]:
        value = "" if trial.value is None else f"{trial.value:.5g}"
        params = [_short(trial.params.get(key, "")) for key in settings.search]
        seconds = f"{trial.duration.total_seconds():.0f}" if trial.duration else ""
        table.add_row(str(trial.number), trial.state.name.lower(), value, *params, seconds)
    console = Console()
    console.print(table)
    if not complete:
        raise RunError("no trial came to an end; their logs are in the folder of the study")
    chosen = [override(key, value) for key, value in complete[0].params.items()]
    console.print("best:", shlex.join(["python", "train.py", *base, *chosen]), soft_wrap=True)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
