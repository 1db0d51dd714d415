"""What a run was like over time, in files that anything can read.

`History` writes figures; `MapRecorder` hands it the maps of the same few validation examples.
"""

from __future__ import annotations

import csv
import io
import json
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as pl
from lightning.pytorch.loggers.logger import Logger
from torch import Tensor

from attnlab.compat import lightning_steps
from attnlab.data.batch import Batch
from attnlab.text_files import write_whole
from attnlab.training.distributed import is_first_process

Maps = dict[str, list[list[float]]]  # by the id of the example: queries x keys


class History(Logger):
    """One file for each kind of figure (`history/train.csv`, `history/val.csv`) and each step of
    which maps are kept (`history/maps/step-00000120.json`).
    """

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

    def log_maps(self, maps: Maps, step: int) -> None:
        """Write the maps of a step, whole or not at all."""
        path = self.folder / "maps" / f"step-{step:08}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps({"step": step, "maps": maps}) + "\n")

    def forget_from(self, step: int) -> None:
        """Drop what was written at a step or later: a resumed run writes it again.

        A row that a kill cut short is dropped, too.
        """
        if not is_first_process():
            return
        for path in (self.folder / "maps").glob("step-*.json"):
            if int(path.stem.removeprefix("step-")) >= step:
                path.unlink()
        for path in self.folder.glob("*.csv"):
            rows, whole = read(path), path.read_bytes().endswith(b"\n")
            kept = [row for row in rows if int(row["step"]) < step]
            if len(kept) < len(rows) or not whole:
                self.columns.pop(path, None)
                if kept:
                    _replace(path, list(kept[0]), kept)
                else:
                    path.unlink()

    def _append(self, path: Path, row: dict[str, Any]) -> None:
        """Add a row; a column that is new makes the table be written anew."""
        columns = self._columns(path)
        missing = [name for name in row if name not in columns]
        if missing:
            rows = read(path) if path.is_file() else []
            columns += missing
            _replace(path, columns, [*rows, row])
        else:
            with path.open("a", newline="") as file:
                csv.DictWriter(file, columns, restval="").writerow(row)

    def _columns(self, path: Path) -> list[str]:
        """The columns of a table; its file is read once."""
        if path not in self.columns:
            self.folder.mkdir(parents=True, exist_ok=True)
            rows = read(path) if path.is_file() else []
            self.columns[path] = list(rows[0]) if rows else []
        return self.columns[path]


def read(path: Path) -> list[dict[str, str]]:
    """The rows of a table, without one that a kill cut short."""
    text = path.read_text(encoding="utf-8")
    return list(csv.DictReader(text[: text.rfind("\n") + 1].splitlines()))


def _replace(path: Path, columns: list[str], rows: list[dict[str, Any]]) -> None:
    """Write a table in one move: a kill in between leaves the old one."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(path, text.getvalue())


class Recorded(NamedTuple):
    """A validation example whose maps are kept, and the shape of its map without padding."""

    id: str
    queries: int
    keys: int


class MapRecorder(pl.Callback):
    """Keeps the maps of the same examples after every so many validations.

    They are those that the validation computed: nothing is run for them, no random number is
    drawn. The count of validations travels in the checkpoint, so that a resumed run keeps maps
    of the same steps as one that was not stopped.

    Args:
        history: writes them.
        examples: by their places in the validation split; the first process has to get them.
        every: validations between two that are kept.
        show: is given the maps and their step, on the first process.
    """

    def __init__(
        self,
        history: History,
        examples: Mapping[int, Recorded],
        every: int,
        show: Callable[[Maps, int], None],
    ) -> None:
        self.history, self.examples, self.every, self.show = history, examples, every, show
        self.validations = 0
        self.maps: Maps = {}

    def state_dict(self) -> dict[str, Any]:
        return {"validations": self.validations}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.validations = state_dict["validations"]

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.validations += 1
        self.maps = {}

    def on_validation_batch_end(  # type: ignore[override]
        self,
        trainer: pl.Trainer,
        pl_module: Any,
        outputs: Tensor,
        batch: Batch,
        *batch_and_loader: int,
    ) -> None:
        """Takes maps (batch x queries x keys) from what `Learner.validation_step` returns."""
        if self.validations % self.every or not is_first_process():
            return
        for row, index in enumerate(batch.index.tolist()):
            if index in self.examples:
                id_, queries, keys = self.examples[index]
                weights = outputs[row, :queries, :keys].double().cpu().numpy()
                self.maps[id_] = weights.round(4).tolist()

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.maps:
            step = lightning_steps(trainer)  # that of the figures of this validation
            self.history.log_maps(self.maps, step)
            self.show(self.maps, step)
