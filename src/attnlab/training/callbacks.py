"""Optional callbacks of a training: `trainer.callbacks.NAME`, by kind.

Each is built as `CLASS(trainer_settings, **own_settings)`. They run before checkpoints are
written.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch import callbacks
from torch import nn

from attnlab.config.trainer import Trainer as Settings
from attnlab.data.vocabulary import SPECIAL
from attnlab.errors import UserError
from attnlab.models.tuning import from_the_top
from attnlab.text_files import write_whole
from attnlab.training.optimizers import cycle_ends


class Ema(callbacks.EMAWeightAveraging):
    """An exponential moving average of the weights; it is validated and kept as the model."""

    def __init__(self, trainer: Settings, *, decay: float) -> None:
        super().__init__(decay=decay)


class Swa(callbacks.WeightAveraging):
    """The mean of the weights over the last part of training (Izmailov et al. 2018)."""

    def __init__(self, trainer: Settings, *, start: float, every_steps: int) -> None:
        super().__init__()
        self.start, self.every_steps = start, every_steps
        self.first = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.first = int(self.start * pl_module.total_steps)  # type: ignore[operator]

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        if step_idx is None:
            return False
        return step_idx >= self.first and (step_idx - self.first) % self.every_steps == 0


class Snapshots(pl.Callback):
    """Keeps the weights at the end of each cycle of the learning rate (Huang et al. 2017)."""

    def __init__(self, trainer: Settings) -> None:
        schedule: Any = trainer.schedule
        self.warmup_steps, self.count = schedule.warmup_steps, schedule.count
        self.ends: list[int] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        total: Any = pl_module.total_steps
        self.ends = cycle_ends(total, self.warmup_steps, self.count)

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any, **others: Any) -> None:
        if trainer.global_step in self.ends:  # more than once where gradients accumulate
            name = f"snapshot-{self.ends.index(trainer.global_step) + 1}.ckpt"
            path = Path(trainer.default_root_dir) / "checkpoints" / name
            trainer.save_checkpoint(path, weights_only=True)


class EarlyStopping(callbacks.EarlyStopping):
    """Ends training when the monitored figure no longer improves."""

    def __init__(self, trainer: Settings, *, patience: int, min_delta: float) -> None:
        best = trainer.checkpoints
        super().__init__(
            best.monitor,
            mode=best.mode,
            patience=patience,
            min_delta=min_delta,
            check_on_train_epoch_end=False,  # which comes after last.ckpt of this step is written
        )

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """A run that was killed after it decided to stop trains no further."""
        if self.wait_count >= max(self.patience, 1):
            trainer.should_stop = True


class Unfreeze(pl.Callback):
    """One more layer learns after every so many epochs, from the top (Howard & Ruder 2018).

    What learns depends on the epoch alone: a run that goes on needs no state of this.
    """

    def __init__(self, trainer: Settings, *, every_epochs: int) -> None:
        self.every_epochs = every_epochs
        self.groups: list[list[nn.Parameter]] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.groups = from_the_top(pl_module.model)  # type: ignore[arg-type]
        self.on_train_epoch_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        learning = trainer.current_epoch // self.every_epochs
        for number, group in enumerate(self.groups):
            for parameter in group:
                parameter.requires_grad_(number < learning)


class WordVectors(pl.Callback):
    """Writes the words of the attended text with their embeddings, as GloVe and word2vec do."""

    def __init__(self, trainer: Settings) -> None:
        return

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        learner: Any = pl_module
        codec, reader = learner.task.codec, learner.model.reader
        vocabulary = codec.vocabularies.get(codec.attended)
        tables = (m for m in reader.embedder.modules() if isinstance(m, nn.Embedding))
        table = next((m for m in tables if m.num_embeddings == len(vocabulary or ())), None)
        if table is None:
            raise UserError(
                f"trainer.callbacks.word_vectors.kind: '{codec.attended}' has no vectors of words; "
                "try: ~trainer.callbacks.word_vectors"
            )
        if trainer.is_global_zero:
            numbers = table.weight.detach().cpu().tolist()[len(SPECIAL) :]
            pairs = zip(vocabulary.words, numbers, strict=True)
            lines = [f"{word} {' '.join(f'{x:.5g}' for x in row)}" for word, row in pairs]
            text = "\n".join([f"{len(lines)} {table.embedding_dim}", *lines])
            write_whole(Path(trainer.default_root_dir) / "vectors.txt", text + "\n")


class GradientNorm(pl.Callback):
    """Logs the norm of the gradient before it is clipped, as `train/grad_norm`."""

    def __init__(self, trainer: Settings) -> None:
        self.every = trainer.log_every

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any
    ) -> None:
        if trainer.global_step % self.every:
            return
        gradients = [p.grad for p in pl_module.parameters() if p.grad is not None]
        norm = float(torch.nn.utils.get_total_norm(gradients))
        for logger in trainer.loggers:
            logger.log_metrics({"gradient/norm": norm}, trainer.global_step)
