"""Checkpoints that survive: written whole or not at all, read without running code."""

from __future__ import annotations

import errno
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from attnlab import __version__
from attnlab.config.migrations import migrated_parameters
from attnlab.errors import RunError, UserError

FORMAT = "attnlab"
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
                torch.save(checkpoint, file)
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


def write_error(path: Path, error: Exception) -> RunError:
    """One line for a checkpoint that could not be written; the previous one is still there."""
    number = error.errno if isinstance(error, OSError) else None
    reason = "the disk is full" if number in NO_ROOM else str(error).splitlines()[0]
    kept = f"; the last good one is kept: {path}" if path.exists() else ""
    return RunError(f"{path}: cannot write the checkpoint: {reason}{kept}; then: resume=auto")


def read_checkpoint(path: Path, map_location: Any | None = "cpu") -> dict[str, Any]:
    """The content of a checkpoint of ours; anything else is one clear line."""
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint; try: ls {path.parent}")
    try:
        content = torch.load(path, map_location=map_location, weights_only=True)
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"{path}: damaged, or no checkpoint at all ({reason}); try: resume=never"
        ) from None
    if not isinstance(content, dict) or FORMAT not in content:
        raise UserError(f"{path}: a checkpoint of another program, not of attnlab")
    for weights in MODEL_STATES & content.keys():
        content[weights] = migrated_parameters(content[weights])
    return content


def provenance(config: dict[str, Any], data_digest: str) -> dict[str, Any]:
    """What a checkpoint says of where it comes from, in plain values."""
    return {
        "config": config,
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
