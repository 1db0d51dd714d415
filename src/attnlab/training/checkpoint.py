"""Checkpoints that survive: written whole or not at all, read without running code.

Each holds a checksum over its content, which `read_checkpoint` compares.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import os
import platform
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from torch import Tensor

from attnlab import __version__
from attnlab.config.migrations import migrated_parameters
from attnlab.errors import RunError, UserError
from attnlab.text_files import problem

FORMAT = "attnlab"


class About(BaseModel):
    """What a checkpoint says of its origin, at least."""

    config: dict[str, Any] = {}
    data_digest: str = ""


class Form(BaseModel):
    """What a checkpoint holds at least; the rest is Lightning's."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    state_dict: dict[str, Tensor]
    attnlab: About


CHECKSUM = "checksum"
# Lightning's names; with an average of the weights, the first is the average.
MODEL_STATES = {"state_dict", "current_model_state"}
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes to a file beside the checkpoint, then puts it in place in one move."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        target = Path(path)
        draft = target.with_name(f".{target.name}.part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with draft.open("wb") as file:
                torch.save({**checkpoint, CHECKSUM: checksum(checkpoint)}, file)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(target)
        except (OSError, RuntimeError) as error:  # torch reports a failed write as RuntimeError
            draft.unlink(missing_ok=True)
            raise write_error(target, error) from error

    def load_checkpoint(
        self, path: str | Path, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        return read_checkpoint(Path(path), map_location)


class BestCheckpoint(ModelCheckpoint):
    """Keeps `best.ckpt` by the monitored figure.

    Its state names files without their folder: a checkpoint says nothing of the machine that wrote
    it, and a run whose folder was moved goes on with its best.
    """

    def __init__(self, folder: Path, monitor: str, mode: str) -> None:
        super().__init__(
            folder,
            "best",
            monitor=monitor,
            mode=mode,
            enable_version_counter=False,
            save_on_train_epoch_end=False,  # which comes after last.ckpt of this step is written
        )

    @property
    def state_key(self) -> str:
        """The name of this state in checkpoints, of older ones, too."""
        return super().state_key.replace(type(self).__qualname__, ModelCheckpoint.__qualname__, 1)

    def state_dict(self) -> dict[str, Any]:
        return _replaced(super().state_dict(), lambda path: Path(path).name) | {"dirpath": ""}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        folder = Path(self.dirpath or "")
        placed = _replaced(state_dict, lambda path: str(folder / Path(path).name))
        super().load_state_dict(placed | {"dirpath": self.dirpath})


def _replaced(state: dict[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    """The state of a `BestCheckpoint` with other paths; one that is empty stays."""
    names = ("best_model_path", "kth_best_model_path", "last_model_path")
    paths = {name: change(state[name]) for name in names if state.get(name)}
    models = {change(path): score for path, score in state.get("best_k_models", {}).items()}
    return state | paths | {"best_k_models": models}


def write_error(path: Path, error: Exception) -> RunError:
    """One line for a checkpoint that could not be written; the previous one is still there."""
    number = error.errno if isinstance(error, OSError) else None
    reason = "the disk is full" if number in NO_ROOM else str(error).splitlines()[0]
    kept = f"; the last good one is kept: {path}" if path.exists() else ""
    return RunError(f"{path}: cannot write the checkpoint: {reason}{kept}; then: resume=auto")


def read_checkpoint(path: Path, map_location: Any | None = "cpu") -> dict[str, Any]:
    """The content of a checkpoint of ours; anything else is one clear line.

    Raises:
        UserError: there is no such file, it is damaged, or another program wrote it.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint; try: ls {path.parent}")
    try:
        content = torch.load(path, map_location=map_location, weights_only=True)
    except Exception as error:
        raise damaged(path, str(error).splitlines()[0] if str(error) else repr(error)) from None
    if not isinstance(content, dict) or FORMAT not in content:
        raise UserError(f"{path}: a checkpoint of another program, not of attnlab")
    _compare_checksum(path, content.pop(CHECKSUM, None), content)
    try:
        TypeAdapter(Form).validate_python(content)
    except ValidationError as error:
        raise damaged(path, problem(error)) from None
    for weights in MODEL_STATES & content.keys():
        content[weights] = migrated_parameters(content[weights])
    return content


def damaged(path: Path, reason: str) -> UserError:
    """One line for a checkpoint that cannot be read."""
    return UserError(f"{path}: damaged, or no checkpoint at all ({reason}); try: resume=never")


def _compare_checksum(path: Path, claimed: str | None, content: dict[str, Any]) -> None:
    """Raise a `UserError` for content that is not what was written.

    Without a checksum, those that every archive of torch has for its records are compared.
    """
    if claimed is None:
        try:
            with zipfile.ZipFile(path) as archive:
                if record := archive.testzip():
                    raise damaged(path, f"'{record}' differs from its checksum")
        except zipfile.BadZipFile as error:
            raise damaged(path, str(error)) from None
        _tell_once(f"{path}: has no checksum, as an older attnlab wrote it; its archive is whole")
    elif claimed != checksum(content):
        raise damaged(path, "the content differs from its checksum")


@functools.cache
def _tell_once(line: str) -> None:
    print(line, file=sys.stderr)


def checksum(content: Mapping[str, Any]) -> str:
    """SHA-256 over tensors and plain values; the same before writing and after reading."""
    total = hashlib.sha256()

    def add(value: Any) -> None:
        if isinstance(value, Tensor):
            numbers = value.detach().cpu().contiguous()
            total.update(f"{numbers.dtype} {tuple(numbers.shape)}:".encode())
            total.update(numbers.reshape(-1).view(torch.uint8).numpy().data)
        elif isinstance(value, Mapping):
            total.update(f"{len(value)} keys:".encode())
            for pair in value.items():
                add(pair)
        elif isinstance(value, list | tuple):
            total.update(f"{len(value)} values:".encode())
            for each in value:
                add(each)
        else:
            total.update(f"{value!r};".encode())

    add(content)
    return total.hexdigest()


def not_finite(content: Mapping[str, Any], parameters: Sequence[str]) -> str:
    """The first of these parameters that is NaN or infinite in a checkpoint; '' if none is."""
    for weights in sorted(MODEL_STATES & content.keys()):
        for name in parameters:
            value = content[weights].get(name)  # processes but the first may have none
            if value is not None and not torch.isfinite(value).all():
                return name
    return ""


def provenance(config: dict[str, Any], data_digest: str) -> dict[str, Any]:
    """What a checkpoint says of where it comes from, in plain values without absolute paths."""
    return {
        "config": from_here(config),
        "data_digest": data_digest,
        "git_commit": git_commit(),
        "versions": {
            "attnlab": __version__,
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "lightning": lightning.__version__,
            "numpy": np.__version__,
        },
    }


def from_here(value: Any) -> Any:
    """The same with paths as they are from the folder of the command; outside it, names alone.

    What counts as a path is absolute, and has a folder or exists: `/` may be a separator.
    """
    if isinstance(value, dict):
        return {key: from_here(each) for key, each in value.items()}
    if isinstance(value, list):
        return [from_here(each) for each in value]
    if isinstance(value, str) and value.strip("/") and Path(value).is_absolute():
        path = Path(value)
        with suppress(OSError, ValueError):  # of a text that no file can be called
            if len(path.parts) > 2 or path.exists():
                inside = path.is_relative_to(Path.cwd())
                return str(path.relative_to(Path.cwd())) if inside else f".../{path.name}"
    return value


def git_commit() -> str:
    """The commit of the folder the run was started in, '+' where files differ; '' outside git."""
    try:
        commit = _git("rev-parse", "HEAD")
        return commit + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()
