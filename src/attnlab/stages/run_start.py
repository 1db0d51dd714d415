"""Where a run starts: in a new folder, or in that of a run that goes on."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from attnlab.config.migrations import migrated, migrated_overrides
from attnlab.config.schema import Config
from attnlab.errors import UserError
from attnlab.stages import run_lock, trusted_plugins
from attnlab.stages.run import NOT_PART_OF_THE_RESULT, Run, fingerprint, flat, open_run, read_config
from attnlab.stages.run_folders import run_folder
from attnlab.stages.run_status import read_status
from attnlab.text_files import DamagedFileError, write_whole
from attnlab.training.distributed import is_first_process

FOLDER_VARIABLE = "ATTNLAB_RUN"  # tells the other processes of a distributed run where it lives
# In a run that goes on, how long and by what it is trained.
MAY_CHANGE = (
    "trainer.max_",
    "trainer.progress",
    "trainer.callbacks.early_stopping",
    "trainer.threads",
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


def resume_command(overrides: Sequence[str], run: str | Path = "auto") -> str:
    """The command that goes on with a run, by default with the one that these words find."""
    kept = [
        override for override in migrated_overrides(overrides) if not override.startswith("resume=")
    ]
    return shlex.join(["python", "train.py", *kept, f"resume={run}"])


def _choose_folder(config: Config, plain: dict[str, Any]) -> Path:
    named = Path(config.paths.run) if config.paths.run else None
    if config.resume not in ("never", "auto"):
        named = run_folder(config.resume, trained=False)
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
    """Where the first process is, without reading anything that it writes meanwhile."""
    named = os.environ.get(FOLDER_VARIABLE) or config.paths.run
    if config.resume not in ("never", "auto"):
        named = run_folder(config.resume, trained=False)
    return Path(named) if named else _choose_folder(config, plain)


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
        return fingerprint(migrated(read_config(folder / "config.yaml")))
    except DamagedFileError:
        return ""


def _same_config(folder: Path, plain: dict[str, Any]) -> Path:
    """The folder, if its run has this config; raises a `UserError` with what differs."""
    run = open_run(folder)
    ours, theirs = flat(plain), flat(run.plain)
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
