"""`status.json`: what a run does, or how it ended, and how it was started."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from attnlab.stages import run_lock
from attnlab.text_files import DamagedFileError, read_json, write_whole

FILE = "status.json"


class StatusForm(BaseModel):
    """What the file may hold."""

    model_config = ConfigDict(strict=True)

    state: Literal["running", "finished", "failed", "interrupted"] = "running"
    started: float = Field(default=0.0, ge=0, le=1e11)
    pid: int | None = None
    fingerprint: str = ""
    overrides: list[str] = []
    plugins: dict[str, str] = {}  # their hashes, see `trusted_plugins`
    versions: dict[str, str] = {}
    train_seconds: float = 0.0
    peak_memory_mib: float | None = None


def read_status(folder: Path) -> dict[str, Any]:
    """The content of a run's file; {} if there is none, the state `damaged` if it holds none."""
    path = folder / FILE
    if not path.is_file():
        return {}
    try:
        return read_json(path, "training again", StatusForm)
    except DamagedFileError as error:
        return {"state": "damaged", "message": [str(error)]}


def state_now(folder: Path) -> str:
    """The state of a run; `died` where its file says `running` and no process trains there."""
    state = read_status(folder).get("state", "unknown")
    return "died" if state == "running" and run_lock.owner(folder) is None else state


def write_status(folder: Path, **values: Any) -> None:
    """Change these values; the file is written whole or not at all."""
    write_whole(folder / FILE, _changed(folder, values))


def write_end(folder: Path, **values: Any) -> None:
    """Write the end of a run; on a full disk over the old content, so that it is never lost."""
    try:
        write_status(folder, **values)
    except OSError:
        text = _changed(folder, values)
        try:
            with (folder / FILE).open("r+", encoding="utf-8") as file:
                file.write(text)
                file.truncate()
        except OSError as error:
            problem = f"cannot be written ({error.strerror}); it does not say how the run ended"
            print(f"{folder / FILE}: {problem}", file=sys.stderr)


def _changed(folder: Path, values: dict[str, Any]) -> str:
    return json.dumps(read_status(folder) | values, indent=2) + "\n"
