"""`Run`: the folder of one run, its config and status.

runs/<name>/<start>/
  config.yaml     the checked config, every key
  status.json     running | finished | failed | interrupted, and how it was started
  lock.json       while it trains: the process that does (`run_lock`)
  checkpoints/    last.ckpt, best.ckpt
  history.csv     figures over training
  metrics.json    figures of the evaluation
  maps/           pictures
  report.html
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attnlab.config.compose import (
    COMPOSITION_ERRORS,
    checked,
    compose,
    config_dir,
    diagnose,
    resolve,
)
from attnlab.config.dataset import Dataset
from attnlab.config.migrations import completed, migrated
from attnlab.config.mistakes import MISSING
from attnlab.config.schema import Config
from attnlab.errors import ConfigError, InterruptedRunError, Mistake, RunError, UserError
from attnlab.stages import run_lock, trusted_plugins
from attnlab.stages.run_folders import ZOO, existing_run, is_of_zoo
from attnlab.stages.run_status import read_status, write_end, write_status
from attnlab.text_files import damage_reported, read_yaml, write_whole
from attnlab.training.distributed import is_first_process

NOT_PART_OF_THE_RESULT = ("resume", "paths", "logger", "explain", "name", "hparams", "stages")


@dataclass(frozen=True)
class Run:
    """A run's folder, its config, and the same config as plain values."""

    folder: Path
    config: Config
    plain: dict[str, Any]
    trained_on: Dataset | None = None  # where the config has other data; None: those of the config

    @property
    def last_checkpoint(self) -> Path:
        return self.folder / "checkpoints" / "last.ckpt"

    @property
    def best_checkpoint(self) -> Path:
        return self.folder / "checkpoints" / "best.ckpt"

    @property
    def status(self) -> dict[str, Any]:
        return read_status(self.folder)

    def set_status(self, state: str, **more: Any) -> None:
        """Written by the first process, whole or not at all: a kill in between leaves the old."""
        if is_first_process():
            write_status(self.folder, state=state, **more)

    def require_writable(self) -> None:
        """Raise a `UserError` where results could not be written, before the work is done."""
        if is_of_zoo(self.folder):
            raise UserError(
                f"{ZOO.name}/{self.folder.name}: belongs to the package, which keeps no results; "
                f"try: cp -r {shlex.quote(str(self.folder))} my_{self.folder.name}"
            )
        probe = self.folder / ".writable"
        try:
            write_whole(probe, "\n")
            probe.unlink()
        except OSError as error:
            raise UserError(
                f"{self.folder}: cannot write to it ({error.strerror}); "
                "try: a copy of the run in a folder of yours"
            ) from None

    @contextmanager
    def tracked(self) -> Iterator[None]:
        """The status says `running` inside, and afterwards how it ended; then the lock is free."""
        if not is_first_process():
            yield
            return
        try:
            self.set_status("running", pid=os.getpid(), started=time.time())
            yield
            self._require_folder()
            self.set_status("finished", ended=time.time())
        except BaseException as error:
            self._require_folder()
            interrupted = isinstance(error, InterruptedRunError | KeyboardInterrupt)
            state = "interrupted" if interrupted else "failed"
            message = str(error).splitlines()[:1]
            write_end(self.folder, state=state, ended=time.time(), message=message)
            raise
        finally:
            run_lock.release(self.folder)

    def _require_folder(self) -> None:
        """Raise a `RunError` if the folder was deleted while the run was going on."""
        if not run_lock.holds(self.folder) or not (self.folder / "config.yaml").is_file():
            raise RunError(
                f"{self.folder}: deleted, or another run is in it, while this run was going on; "
                "what it wrote is lost"
            )


def open_run(folder: str | Path, trust: bool = False) -> Run:
    """A run that exists, by its folder or as `latest`.

    Args:
        folder: of the run.
        trust: import the plugins that its config names, whoever wrote them (`trusted_plugins`).

    Raises:
        UserError: there is no such run (the message names one that is spelt like it), or it has
            plugins that are not trusted.
    """
    folder = existing_run(folder)
    plain = migrated(read_config(folder / "config.yaml"))
    if (status := read_status(folder)).get("state") == "damaged":
        print(*status["message"], file=sys.stderr)
    _import_plugins(folder, plain, trust)
    try:
        return Run(folder, checked(plain), plain)
    except ConfigError as error:
        plain, added = completed(plain, _as_composed_today(folder))
        if not added or all(mistake.problem != MISSING for mistake in error.mistakes):
            raise
    if not is_of_zoo(folder):
        print(f"{folder}: older than {', '.join(added)}; read as conf/ has them", file=sys.stderr)
    _import_plugins(folder, plain, trust)
    return Run(folder, checked(plain), plain)


def read_config(path: Path) -> dict[str, Any]:
    """The plain values of a run's config, which refer to nothing: neither a key nor a variable."""
    remedy = f"the config.yaml that {path.parent} was written with"
    plain = read_yaml(path, remedy)
    with damage_reported(path, remedy):
        if not plain:
            raise ValueError("no keys")
        for key, value in flat(plain).items():
            if "${" in str(value):
                raise ValueError(f"{key}: '{value}' is a reference; a run's config has none")
    return plain


def _import_plugins(folder: Path, plain: dict[str, Any], trust: bool) -> None:
    recorded = read_status(folder).get("plugins", {})
    trusted_plugins.import_plugins_of(folder, plain.get("plugins"), recorded, trust)


def _as_composed_today(folder: Path) -> dict[str, Any]:
    """What a run's overrides make of `conf/` now; nothing where they have lost their meaning."""
    try:
        words = read_status(folder).get("overrides", [])
        # Without a recipe, which the run may be older than: what it chose stands in the config.
        return resolve(compose([w for w in words if "${" not in str(w)], recipe=False))
    except (*COMPOSITION_ERRORS, ConfigError):
        return {}


def with_changes(run: Run, overrides: Sequence[str], groups: Sequence[str]) -> Run:
    """The run with other settings in these groups of its config, checked as any config is.

    Args:
        run: the run as it was trained; its folder stays the same.
        overrides: `metrics.links.share=0.35`, or an option of a group: `metrics/links=top`.
        groups: what may change, such as `metrics`.

    Raises:
        ConfigError: a key that is wrong, or that a trained run cannot change.
    """
    from omegaconf import OmegaConf

    plain, mistakes = OmegaConf.create(run.plain), []
    for override in sorted(overrides, key=lambda each: "." in each.partition("=")[0]):
        key, equals, value = override.partition("=")
        path = key.replace("/", ".")
        if not equals:
            mistakes.append(Mistake(override, "not of the form key=value"))
        elif not any(f"{path}.".startswith(f"{group}.") for group in groups):
            hint = f"these can be: {', '.join(groups)}"
            mistakes.append(Mistake(key, "cannot be changed in a trained run", hint))
        elif (config_dir() / key).is_dir():
            try:
                OmegaConf.update(plain, path, _option(key, value), merge=False)
            except ConfigError as error:
                mistakes += error.mistakes
        else:
            changed = OmegaConf.from_dotlist([override])
            OmegaConf.update(plain, path, OmegaConf.select(changed, path), force_add=True)
    if mistakes:
        raise ConfigError(mistakes)
    resolved = resolve(plain)
    config = checked(resolved)
    other_data = config.dataset != run.config.dataset
    return Run(run.folder, config, resolved, run.config.dataset if other_data else None)


def _option(group: str, name: str) -> Any:
    """The values of one option of a group of `conf/`, such as `metrics/links` and `top`."""
    from omegaconf import OmegaConf

    words = [f"{group}={name}", "~experiment"]
    try:
        composed = compose(words)
    except COMPOSITION_ERRORS:
        raise ConfigError(diagnose(words)) from None
    return OmegaConf.select(composed, group.replace("/", "."))


def fingerprint(plain: dict[str, Any]) -> str:
    """The same for configs that lead to the same result."""
    kept = {key: value for key, value in plain.items() if key not in NOT_PART_OF_THE_RESULT}
    return hashlib.sha256(json.dumps(kept, sort_keys=True, default=str).encode()).hexdigest()[:12]


def flat(plain: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of a config by their dotted keys."""
    values: dict[str, Any] = {}
    for key, value in plain.items():
        inner = isinstance(value, dict)
        values |= flat(value, f"{prefix}{key}.") if inner else {f"{prefix}{key}": value}
    return values
