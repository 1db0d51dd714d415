"""`hparams.search`: the settings that a search tries, checked before it starts."""

from __future__ import annotations

import csv
import json
import math
import shlex
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from attnlab.compat import optuna_reopened
from attnlab.config import compose
from attnlab.config.compose import quoted
from attnlab.config.schema import Config, Hparams
from attnlab.errors import ConfigError, Mistake, RunError, UserError, suggest
from attnlab.stages.executors import Processes, exclusive_lock
from attnlab.stages.run import fingerprint
from attnlab.stages.sweep import Sweep
from attnlab.stages.sweep_table import LiveTable, Outcome, announce

if TYPE_CHECKING:
    from optuna.trial import Trial

FORMS = ({"choice"}, {"low", "high"}, {"low", "high", "log"}, {"low", "high", "step"})
Space = Mapping[str, Any]  # one entry: the range of one setting


def check_space(search: Mapping[str, Space], base: Sequence[str]) -> None:
    """Check every key, range and choice; raises a `ConfigError` with all mistakes."""
    mistakes = []
    for key, space in search.items():
        wrong = list(_wrong_form(f"hparams.search.{key}", space))
        mistakes += wrong or _wrong_values(key, space, base)
    if mistakes:
        raise ConfigError(mistakes, compose.NEXT_COMMAND)


def _wrong_form(where: str, space: Any) -> Iterator[Mistake]:
    """The mistakes in the form of an entry."""
    if not isinstance(space, dict) or set(space) not in FORMS:
        value = space if not isinstance(space, dict) else ", ".join(space) or "nothing"
        known = {key for form in FORMS for key in form}
        unknown = [key for key in space if key not in known] if isinstance(space, dict) else []
        hint = suggest(unknown[0], known) if unknown else ""
        forms = "a range is choice: [...] | low, high | low, high, log | low, high, step"
        yield Mistake(where, f"'{value}' is no range", f"{hint} {forms}".strip())
    elif "choice" in space:
        scalars = str | int | float | bool | None
        if not isinstance(space["choice"], list) or not space["choice"]:
            yield Mistake(f"{where}.choice", "needs a list with at least one value")
        elif not all(isinstance(value, scalars) for value in space["choice"]):
            yield Mistake(
                f"{where}.choice", "holds more than plain values", "name a group's option"
            )
    else:
        yield from _wrong_range(where, space)


def _wrong_range(where: str, space: Space) -> Iterator[Mistake]:
    numbers = {key: space[key] for key in ("low", "high", "step") if key in space}
    for key, value in numbers.items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value):
            yield Mistake(f"{where}.{key}", f"{value!r} is not a number", "write 1.0e-3, not 1e-3")
            return
    if numbers["low"] >= numbers["high"]:
        yield Mistake(where, f"low {numbers['low']} is not below high {numbers['high']}")
    if space.get("log") and numbers["low"] <= 0:
        yield Mistake(f"{where}.low", f"{numbers['low']} has no logarithm", "a low above 0")
    if numbers.get("step", 1) <= 0:
        yield Mistake(f"{where}.step", f"{numbers['step']} is not above 0")


def _wrong_values(key: str, space: Space, base: Sequence[str]) -> list[Mistake]:
    """The mistakes of the config at the ends of a range, or with each of the choices."""
    mistakes: dict[str, Mistake] = {}
    for value in space.get("choice") or (space["low"], space["high"]):
        try:
            compose.load(["~hparams", *base, override(key, value)])
        except ConfigError as error:
            mistakes |= {str(mistake): mistake for mistake in error.mistakes}
    return list(mistakes.values())


def override(key: str, value: Any) -> str:
    """A setting as an override of the command line."""
    if isinstance(value, str):
        plain = value.replace("_", "").isalnum()
        return f"{key}={value if plain else quoted(value)}"
    return f"{key}={json.dumps(value)}"


def suggest_value(trial: Trial, key: str, space: Space) -> Any:
    """A value for one setting, suggested by Optuna."""
    if "choice" in space:
        return trial.suggest_categorical(key, space["choice"])
    low, high, step = space["low"], space["high"], space.get("step")
    whole = all(isinstance(value, int) for value in (low, high, step or 1))
    if whole:
        return trial.suggest_int(key, low, high, step=step or 1, log=space.get("log", False))
    return trial.suggest_float(key, low, high, step=step, log=space.get("log", False))


try:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend
    from optuna.trial import FrozenTrial, Trial, TrialState
except ModuleNotFoundError:
    raise UserError("hparams: needs Optuna; try: pip install 'attnlab[sweep]'") from None

NOT_FOR_TRIALS = ("hparams", "~hparams", "resume=", "stages=", "paths.run=")  # not for the trials
TRIAL = ("stages=[prepare,train]", "~hparams")


def main(config: Config, plain: dict[str, Any], overrides: Sequence[str]) -> None:
    """Search, and print the trials and the command of the best one."""
    settings = config.hparams
    assert settings is not None
    others = (*NOT_FOR_TRIALS, *(f"{key}=" for key in settings.search))
    base = [word for word in overrides if not word.startswith(others)]
    check_space(settings.search, base)
    folder = Path(config.paths.runs) / "hparams" / settings.name
    folder.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(folder / ".lock") as acquired:
        if not acquired:
            raise UserError(f"hparams.name: another process runs the study in {folder}")
        study = open_study(settings, folder, fingerprint(plain), config.seed)
        Search(settings, study, folder, base).run()
        show(study, settings, base)


def open_study(settings: Hparams, folder: Path, config_hash: str, seed: int) -> optuna.Study:
    """The study of that name, new or as it was left."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruners = {"none": optuna.pruners.NopPruner, "median": optuna.pruners.MedianPruner}
    storage = JournalStorage(JournalFileBackend(str(folder / "study.log")))
    known = [summary.study_name for summary in storage.get_all_studies()]
    before = len(optuna.load_study(study_name=known[0], storage=storage).trials) if known else 0
    study = optuna.create_study(
        study_name=settings.name,
        storage=storage,
        sampler=optuna.samplers.TPESampler(
            seed=seed + before
        ),  # other samples than the earlier trials
        pruner=pruners[settings.pruner](),
        direction=settings.direction,
        load_if_exists=True,
    )
    request = {"search": settings.search, "monitor": settings.monitor, "config": config_hash}
    earlier = study.user_attrs.get("asked", request)  # the name in studies on disk
    differing = [key for key in request if request[key] != earlier[key]]
    if differing or study.direction.name.lower() != settings.direction:
        raise UserError(
            f"hparams.name: the study '{settings.name}' in {folder} was made with another "
            f"{differing[0] if differing else 'direction'}; try: hparams.name={settings.name}-2"
        )
    study.set_user_attr("asked", request)
    return study


class Search:
    """Runs trials in parallel and reports each to the study when it ends."""

    def __init__(
        self, settings: Hparams, study: optuna.Study, folder: Path, base: Sequence[str]
    ) -> None:
        self.settings, self.study, self.base = settings, study, list(base)
        self.sweep = Sweep(folder, Processes(settings.jobs))
        self.composing = threading.Lock()  # Hydra composes one config at a time

    def run(self) -> None:
        """Resume the trials that were cut off, then start as many as are left."""
        trials = self.study.trials
        cut_off = [trial for trial in trials if trial.state == TrialState.RUNNING]
        done = sum(trial.state.is_finished() for trial in trials)
        left = max(self.settings.trials - done - len(cut_off), 0)
        again = f", {len(cut_off)} to resume" if cut_off else ""
        print(f"study {self.study.study_name}: {done} trials done{again}, {left} new", flush=True)
        starts: list[Callable[[], Trial]] = [lambda t=t: self._reopen(t) for t in cut_off]
        starts += [self.study.ask] * left
        with ThreadPoolExecutor(self.settings.jobs) as pool:
            futures = [pool.submit(self._trial, start) for start in starts]
            with self.sweep.stoppable(pool), LiveTable(self.sweep.outcomes).shown():
                for future in as_completed(futures):
                    announce(future.result())

    def _reopen(self, trial: FrozenTrial) -> Trial:
        """The same trial with the same settings, whose job resumes."""
        return optuna_reopened(self.study, trial)

    def _trial(self, start: Callable[[], Trial]) -> Outcome:
        trial = start()
        space = self.settings.search
        values = {key: suggest_value(trial, key, space[key]) for key in space}
        chosen = [override(key, value) for key, value in values.items()]
        shown = (
            f"{k}={v:.4g}" if isinstance(v, float) else override(k, v) for k, v in values.items()
        )
        name = f"trial {trial.number}: {' '.join(shown)}"
        try:
            with self.composing:
                [job] = self.sweep.plan([[*chosen, *self.base, *TRIAL]])
        except ConfigError as error:  # each value is valid, but not with the others
            self.study.tell(trial, state=TrialState.FAIL)
            return Outcome(name, "", "failed", message=str(error))
        progress = TrialProgress(trial, job.folder, self.settings)
        outcome = self.sweep.run_one(replace(job, name=name), progress.should_prune)
        return self.sweep.record(self._report_to_study(trial, outcome, progress))

    def _report_to_study(self, trial: Trial, outcome: Outcome, progress: TrialProgress) -> Outcome:
        """Report the result to the study; a trial that was stopped has not ended."""
        if progress.pruned:
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


class TrialProgress:
    """The validations of a trial, read from its folder while it runs."""

    def __init__(self, trial: Trial, folder: Path, settings: Hparams) -> None:
        self.trial, self.settings = trial, settings
        split, _, self.name = settings.monitor.partition("/")
        self.path = folder / "history" / f"{split}.csv"
        self.reported = 0
        self.pruned = False

    def should_prune(self) -> bool:
        """Whether the pruner stops the trial; called regularly while it runs."""
        if self.settings.pruner != "none":
            values = self._values()
            for step in range(self.reported, len(values)):
                self.trial.report(values[step], step)
            self.reported = len(values)
            self.pruned = self.pruned or (bool(values) and self.trial.should_prune())
        return self.pruned

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
        """Whole lines: the run may be writing the next one."""
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
    console = Console(markup=False, emoji=False)
    console.print(table)
    if not complete:
        raise RunError("no trial finished; their logs are in the folder of the study")
    chosen = [override(key, value) for key, value in complete[0].params.items()]
    console.print("best:", shlex.join(["python", "train.py", *base, *chosen]), soft_wrap=True)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
