"""`History`: the figures of a run over time, as a table that anything can read."""

from __future__ import annotations

import csv
from argparse import Namespace
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger

from attnlab.training.distributed import is_first_process


class History(Logger):
    """One file for each kind of figure: `history/train.csv`, `history/val.csv`."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.columns: dict[Path, list[str]] = {}  # of the tables written so far

    @property
    def name(self) -> str:
        return "history"

    @property
    def version(self) -> str:
        return ""

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *rest: Any, **more: Any) -> None:
        """The config stands in config.yaml."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """A row in the table of each prefix: `train/loss` is column `loss` of train.csv."""
        if not is_first_process():
            return
        rows: dict[str, dict[str, Any]] = {}
        for key, value in metrics.items():
            prefix, slash, name = key.partition("/")
            if slash:
                rows.setdefault(prefix, {"step": step})[name] = f"{float(value):.6g}"
        for prefix, row in rows.items():
            self._append(self.folder / f"{prefix}.csv", row)

    def forget_from(self, step: int) -> None:
        """Drop what was written at a step or later: a resumed run writes it again."""
        for path in self.folder.glob("*.csv") if is_first_process() else ():
            rows = read(path)
            kept = [row for row in rows if int(row["step"]) < step]
            if len(kept) < len(rows):
                path.unlink()
                self.columns.pop(path, None)
                for row in kept:
                    self._append(path, row)

    def _append(self, path: Path, row: dict[str, Any]) -> None:
        """Add a row; a column that is new makes the table be written anew."""
        columns = self._columns(path)
        missing = [name for name in row if name not in columns]
        rows = read(path) if missing and path.is_file() else []
        columns += missing
        with path.open("w" if missing else "a", newline="") as file:
            writer = csv.DictWriter(file, columns, restval="")
            if missing:
                writer.writeheader()
                writer.writerows(rows)
            writer.writerow(row)

    def _columns(self, path: Path) -> list[str]:
        """The columns of a table; its file is read once."""
        if path not in self.columns:
            self.folder.mkdir(parents=True, exist_ok=True)
            rows = read(path) if path.is_file() else []
            self.columns[path] = list(rows[0]) if rows else []
        return self.columns[path]


def read(path: Path) -> list[dict[str, str]]:
    """The rows of a table."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
