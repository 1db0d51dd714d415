"""What W&B wrote offline, read back with W&B's own decoder."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def logs(run: Path) -> list[Path]:
    """The offline logs of a run, one for each time it was resumed, oldest first."""
    return sorted(run.glob("wandb/offline-run-*"), key=lambda path: path.stat().st_mtime)


@functools.cache
def records(log: Path) -> list[dict[str, Any]]:
    """Everything that a log holds, as `wandb leet inspect` reads it."""
    command = [str(Path(sys.executable).with_name("wandb")), "leet", "inspect", "--json", str(log)]
    read = subprocess.run(command, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in read.stdout.splitlines()]


def of_kind(kind: str, log: Path) -> list[dict[str, Any]]:
    return [record[kind] for record in records(log) if record["type"] == kind]


def history(log: Path) -> list[dict[str, Any]]:
    return [item["item"] for item in of_kind("history", log)]


def summary(log: Path) -> dict[str, Any]:
    """What the run ends with."""
    ends: dict[str, Any] = {}
    for record in of_kind("summary", log):
        ends |= record["update"]
    return ends


def table(row: dict[str, Any], key: str, log: Path) -> tuple[list[str], list[list[Any]]]:
    """Columns and rows of a table that was logged, from the file that the log names."""
    content = json.loads((log / "files" / row[f"{key}.path"]).read_text())
    return content["columns"], content["data"]


def contents(name: str, log: Path) -> dict[str, str]:
    """Where the files of a table's artifact lie until they are uploaded, by their names in it."""
    [found] = [a for a in of_kind("artifact", log) if a["name"].endswith(f"-{name}")]
    command = log.parents[2]  # the folder that the run was started in
    entries = found["manifest"]["contents"]
    return {entry["path"]: str(command / entry["local_path"]) for entry in entries}
