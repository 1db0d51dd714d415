"""`Run`: the folder of one run, and what is known about it.

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
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from attnlab.config.compose import (
    COMPOSITION_ERRORS,
    MISSING,
    checked,
    compose,
    config_dir,
    diagnose,
    resolve,
)
from attnlab.config.migrations import completed, migrated, migrated_overrides
from attnlab.config.schema import Config
from attnlab.errors import (
    ConfigError,
    InterruptedRunError,
    Mistake,
    RunError,
    UserError,
    suggest,
)
from attnlab.stages import run_lock, trusted_plugins
from attnlab.stages.run_status import read_status, write_end, write_status
from attnlab.text_files import DamagedFileError, damage_told, read_yaml, write_whole
from attnlab.training.distributed import is_first_process

LATEST = "latest"  # in the place of a run's folder
FOLDER_VARIABLE = "ATTNLAB_RUN"  # tells the other processes of a distributed run where it lives
# In a run that goes on, how long and by what it is trained.
MAY_CHANGE = (
    "trainer.max_",
    "trainer.progress",
    "trainer.callbacks.early_stopping",
    "trainer.threads",
)
NOT_PART_OF_THE_RESULT = ("resume", "paths", "logger", "explain", "name", "hparams", "stages")


@dataclass(frozen=True)
class Run:
    """A run's folder, its config, and the same config as plain values."""

    folder: Path
    config: Config
    plain: dict[str, Any]

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
        """Written whole or not at all: a kill in between leaves the old one."""
        write_status(self.folder, state=state, **more)

    def require_writable(self) -> None:
        """Raise a `UserError` where results could not be written, before the work is done."""
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


def start(config: Config, plain: dict[str, Any], overrides: Sequence[str]) -> Run:
    """The folder for a run with this config: a new one, or the one that `resume` names."""
    if not is_first_process():
        return Run(_followed_folder(config, plain), config, plain)
    folder = _choose_folder(config, plain)
    run = Run(folder, config, plain)
    os.environ[FOLDER_VARIABLE] = str(folder)
    try:
        (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
        run_lock.acquire(folder)
        text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
        write_whole(folder / "config.yaml", text)
        about = {"fingerprint": fingerprint(plain), "overrides": list(overrides)}
        run.set_status("running", **about, plugins=trusted_plugins.remember(config.plugins))
    except OSError as error:
        raise UserError(
            f"paths.runs: cannot write to {folder} ({error.strerror}); try: paths.runs=OTHER_FOLDER"
        ) from None
    return run


def find_runs(root: Path = Path("runs")) -> list[Path]:
    """The folders of all runs below a folder, the latest first."""
    # The folders of W&B and of other evaluations have a config as well, but no status.
    folders = [path.parent for path in root.rglob("status.json")]
    folders = [folder for folder in folders if (folder / "config.yaml").is_file()]

    def started(folder: Path) -> float:
        return read_status(folder).get("started") or (folder / "config.yaml").stat().st_mtime

    return sorted(folders, key=started, reverse=True)


def run_folder(name: str | Path) -> Path:
    """The folder of a run: a path, or `latest` for the run that was started last."""
    if str(name) != LATEST:
        return Path(name)
    folders = find_runs()
    if not folders:
        raise UserError("latest: no runs below runs/; try: python train.py")
    return folders[0]


def open_run(folder: str | Path, trust: bool = False) -> Run:
    """A run that exists, by its folder or as `latest`.

    Args:
        folder: of the run.
        trust: import the plugins that its config names, whoever wrote them (`trusted_plugins`).

    Raises:
        UserError: there is no such run (the message names one that is spelt like it), or it has
            plugins that are not trusted.
    """
    folder = run_folder(folder)
    path = folder / "config.yaml"
    if not path.is_file():
        near = [str(p.parent) for p in Path("runs").glob("*/*/config.yaml")]
        raise UserError(f"{folder}: not a run's folder; {suggest(str(folder), near)}")
    plain = migrated(_config_of(path))
    if (status := read_status(folder)).get("state") == "damaged":
        print(*status["message"], file=sys.stderr)
    _import_plugins(folder, plain, trust)
    try:
        return Run(folder, checked(plain), plain)
    except ConfigError as error:
        plain, added = completed(plain, _as_composed_today(folder))
        if not added or all(mistake.problem != MISSING for mistake in error.mistakes):
            raise
    print(f"{folder}: older than {', '.join(added)}; read as conf/ has them", file=sys.stderr)
    _import_plugins(folder, plain, trust)
    return Run(folder, checked(plain), plain)


def _config_of(path: Path) -> dict[str, Any]:
    """The plain values of a run's config, which refer to nothing: neither a key nor a variable."""
    remedy = f"the config.yaml that {path.parent} was written with"
    plain = read_yaml(path, remedy)
    with damage_told(path, remedy):
        if not plain:
            raise ValueError("no keys")
        for key, value in _flat(plain).items():
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
        return resolve(compose([word for word in words if "${" not in str(word)]))
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
    return Run(run.folder, checked(resolved), resolved)


def _option(group: str, name: str) -> Any:
    """The values of one option of a group of `conf/`, such as `metrics/links` and `top`."""
    from omegaconf import OmegaConf

    words = [f"{group}={name}", "~experiment"]
    try:
        composed = compose(words)
    except COMPOSITION_ERRORS:
        raise ConfigError(diagnose(words)) from None
    return OmegaConf.select(composed, group.replace("/", "."))


def resume_command(overrides: Sequence[str], run: str | Path = "auto") -> str:
    """The command that goes on with a run, by default with the one that these words find."""
    kept = [
        override for override in migrated_overrides(overrides) if not override.startswith("resume=")
    ]
    return shlex.join(["python", "train.py", *kept, f"resume={run}"])


def fingerprint(plain: dict[str, Any]) -> str:
    """The same for configs that lead to the same result."""
    kept = {key: value for key, value in plain.items() if key not in NOT_PART_OF_THE_RESULT}
    return hashlib.sha256(json.dumps(kept, sort_keys=True, default=str).encode()).hexdigest()[:12]


def _choose_folder(config: Config, plain: dict[str, Any]) -> Path:
    named = Path(config.paths.run) if config.paths.run else None
    if config.resume not in ("never", "auto"):
        named = run_folder(config.resume)
        return named if _cleared(named) else _same_config(named, plain)
    if named and (named / "status.json").is_file():
        if _cleared(named):
            return named
        if config.resume == "auto":
            return _same_config(named, plain)
        raise UserError(
            f"paths.run: {named} holds a run already; try: resume=auto, or another folder"
        )
    if config.resume == "auto" and not named:
        unfinished = _unfinished(Path(config.paths.runs) / config.name, fingerprint(plain))
        if unfinished:
            return unfinished
        print(f"resume=auto: no unfinished run of {config.name}, starting anew", file=sys.stderr)
    return named or _new_folder(Path(config.paths.runs) / config.name)


def _cleared(folder: Path) -> bool:
    """Whether a run here failed before it had trained anything; what it left is removed then."""
    failed = read_status(folder).get("state") in ("failed", "interrupted")
    if not failed or any(folder.glob("checkpoints/*.ckpt")):
        return False
    run_lock.acquire(folder)
    for name in ("checkpoints", "history"):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / "status.json").unlink()
    return True


def _followed_folder(config: Config, plain: dict[str, Any]) -> Path:
    """Where the first process is, without a look at anything that it writes meanwhile."""
    told = os.environ.get(FOLDER_VARIABLE) or config.paths.run
    if config.resume not in ("never", "auto"):
        told = run_folder(config.resume)
    return Path(told) if told else _choose_folder(config, plain)


def _new_folder(parent: Path) -> Path:
    """Named by the job where a scheduler started it, so that all machines agree; else by time."""
    job = os.environ.get("SLURM_JOB_ID") or os.environ.get("TORCHELASTIC_RUN_ID", "none")
    stamp = time.strftime("%Y%m%d-%H%M%S") if job == "none" else job
    folder, number = parent / stamp, 1
    while job == "none" and not _made(folder):
        number += 1
        folder = parent / f"{stamp}-{number}"
    return folder


def _made(folder: Path) -> bool:
    """Make the folder now; false if another run, started in the same second, has it."""
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        return not folder.exists()
    except OSError:
        return True  # `start` says why it cannot be made
    return True


def _unfinished(parent: Path, mark: str) -> Path | None:
    """The newest run with this config that did not end and has something to go on with."""
    for folder in sorted(parent.glob("*/"), reverse=True):
        status = read_status(folder)
        started = (folder / "checkpoints" / "last.ckpt").is_file()
        if status.get("state") == "finished" or not started:
            continue
        if status.get("fingerprint") == mark or _fingerprint_today(folder) == mark:
            return folder
    return None


def _fingerprint_today(folder: Path) -> str:
    """That of a run's config under the names of today."""
    try:
        return fingerprint(migrated(_config_of(folder / "config.yaml")))
    except DamagedFileError:
        return ""


def _same_config(folder: Path, plain: dict[str, Any]) -> Path:
    """The folder, if its run has this config; what differs is said otherwise."""
    run = open_run(folder)
    ours, theirs = _flat(plain), _flat(run.plain)
    differing = [
        f"{key}: {theirs.get(key)!r} there, {ours.get(key)!r} here"
        for key in sorted(ours.keys() | theirs.keys())
        if ours.get(key) != theirs.get(key)
        and key.split(".")[0] not in NOT_PART_OF_THE_RESULT
        and not key.startswith(MAY_CHANGE)
    ]
    if differing:
        command = resume_command(run.status.get("overrides", []), folder)
        raise UserError(
            f"resume: {folder} was started with another config ({'; '.join(differing[:3])})"
            f"\n  try: {command}"
        )
    return folder


def _flat(plain: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in plain.items():
        inner = isinstance(value, dict)
        flat |= _flat(value, f"{prefix}{key}.") if inner else {f"{prefix}{key}": value}
    return flat
