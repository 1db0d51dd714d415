"""`status.json`: what a run does, or how it ended, and how it was started."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from attnlab.reading import DamagedFileError, read_json

FILE = "status.json"


class StatusForm(BaseModel):
    """What the file may hold."""

    model_config = ConfigDict(strict=True)

    state: Literal["running", "finished", "failed", "interrupted"] = "running"
    started: float = Field(default=0.0, ge=0, le=1e11)
    pid: int | None = None
    fingerprint: str = ""
    overrides: list[str] = []
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


def write_status(folder: Path, **values: Any) -> None:
    """Change these values; the file is written whole or not at all."""
    draft = folder / f".{FILE}.part"
    draft.write_text(json.dumps(read_status(folder) | values, indent=2) + "\n", encoding="utf-8")
    draft.replace(folder / FILE)
