"""`python train.py hparams=NAME`: a search over settings with Optuna, each trial a job of a sweep.

The study lives in a file, so the same command goes on where it stopped: trials that were cut off
are taken up again, and trials that are finished count. Trials are compared by a figure of the
validation split; the test split is not looked at (`evaluate` is for the settings that won).
"""

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
from typing import Any

from rich.console import Console
from rich.table import Table

from attnlab.config import compose
from attnlab.config.schema import Config, Hparams
from attnlab.errors import ConfigError, Mistake, RunError, UserError, suggest
from attnlab.stages.places import Processes, held
from attnlab.stages.run import fingerprint
from attnlab.stages.sweep import Outcome, Sweep, announce, quoted

try:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend
    from optuna.trial import FrozenTrial, Trial, TrialState
except ModuleNotFoundError:
    raise UserError("hparams: needs Optuna; try: pip install 'attnlab[sweep]'") from None

FORMS = ({"choice"}, {"low", "high"}, {"low", "high", "log"}, {"low", "high", "step"})
MINE = ("hparams", "~hparams", "resume=", "stages=", "paths.run=")  # not for the trials
TRIAL = ("stages=[prepare,train]", "~hparams")
Space = Mapping[str, Any]  # one entry of `hparams.search`


def main(config: Config, plain: dict[str, Any], overrides: Sequence[str]) -> None:
    """Search, and show what was found."""
    settings = config.hparams
    assert settings is not None
    others = (*MINE, *(f"{key}=" for key in settings.search))
    base = [override for override in overrides if not override.startswith(others)]
    check(settings, base)
    folder = Path(config.paths.runs) / "hparams" / settings.name
    folder.mkdir(parents=True, exist_ok=True)
    with held(folder / ".lock") as lock:
        if lock is None:
            raise UserError(f"hparams.name: another process is at the study in {folder}")
        study = open_study(settings, folder, fingerprint(plain), config.seed)
        Search(settings, study, folder, base).run()
        show(study, settings, base)


def check(settings: Hparams, base: Sequence[str]) -> None:
    """Every key, range and choice; raises `ConfigError` with all mistakes."""
    mistakes = []
    for key, space in settings.search.items():
        wrong = list(_wrong_form(f"hparams.search.{key}", space))
        mistakes += wrong or _wrong_values(key, space, base)
    if mistakes:
        raise ConfigError(mistakes, compose.NEXT_COMMAND)


def _wrong_form(where: str, space: Any) -> Iterator[Mistake]:
    """What is wrong with an entry as such."""
    if not isinstance(space, dict) or set(space) not in FORMS:
        given = space if not isinstance(space, dict) else ", ".join(space) or "nothing"
        known = {key for form in FORMS for key in form}
        unknown = [key for key in space if key not in known] if isinstance(space, dict) else []
        hint = suggest(unknown[0], known) if unknown else ""
        forms = "a range is choice: [...] | low, high | low, high, log | low, high, step"
        yield Mistake(where, f"'{given}' is no range", f"{hint} {forms}".strip())
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
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not math.isfinite(value)
        ):
            yield Mistake(f"{where}.{key}", f"{value!r} is not a number", "write 1.0e-3, not 1e-3")
            return
    if numbers["low"] >= numbers["high"]:
        yield Mistake(where, f"low {numbers['low']} is not below high {numbers['high']}")
    if space.get("log") and numbers["low"] <= 0:
        yield Mistake(f"{where}.low", f"{numbers['low']} has no logarithm", "a low above 0")
    if numbers.get("step", 1) <= 0:
        yield Mistake(f"{where}.step", f"{numbers['step']} is not above 0")


def _wrong_values(key: str, space: Space, base: Sequence[str]) -> list[Mistake]:
    """What the config itself has against the ends of a range, or against one of the choices."""
    mistakes: dict[str, Mistake] = {}
    for value in space.get("choice") or (space["low"], space["high"]):
        try:
            compose.load(["~hparams", *base, override(key, value)])
        except ConfigError as error:
            mistakes |= {str(mistake): mistake for mistake in error.mistakes}
    return list(mistakes.values())


def override(key: str, value: Any) -> str:
    """A setting as the command line takes it."""
    if isinstance(value, str):
        plain = value.replace("_", "").isalnum()
        return f"{key}={value if plain else quoted(value)}"
    return f"{key}={json.dumps(value)}"


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
            with self.sweep.stoppable(pool):
                for future in as_completed(futures):
                    announce(future.result())

    def _reopen(self, trial: FrozenTrial) -> Trial:
        """The same trial once more: what it was given stays, and its job goes on."""
        return Trial(self.study, trial._trial_id)

    def _trial(self, start: Callable[[], Trial]) -> Outcome:
        trial = start()
        space = self.settings.search
        chosen = [override(key, _draw(trial, key, space[key])) for key in space]
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

    def best(self) -> float:
        """The best value of all validations."""
        values = self._values()
        if not values:
            columns = [name for row in self._rows()[:1] for name in row if name != "step"]
            hint = suggest(self.settings.monitor, [f"{self.path.stem}/{c}" for c in columns])
            raise UserError(f"hparams.monitor: no figure '{self.settings.monitor}'; {hint}")
        return min(values) if self.settings.direction == "minimize" else max(values)

    def _values(self) -> list[float]:
        return [float(row[self.name]) for row in self._rows() if row.get(self.name)]

    def _rows(self) -> list[dict[str, str]]:
        """Whole lines: the run may be at the next one just now."""
        text = self.path.read_text(encoding="utf-8") if self.path.is_file() else ""
        return list(csv.DictReader(text[: text.rfind("\n") + 1].splitlines()))


def _draw(trial: Trial, key: str, space: Space) -> Any:
    """A value for one setting."""
    if "choice" in space:
        return trial.suggest_categorical(key, space["choice"])
    low, high, step = space["low"], space["high"], space.get("step")
    whole = all(isinstance(value, int) for value in (low, high, step or 1))
    if whole:
        return trial.suggest_int(key, low, high, step=step or 1, log=space.get("log", False))
    return trial.suggest_float(key, low, high, step=step, log=space.get("log", False))


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
