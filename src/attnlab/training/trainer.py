"""From a checked config to a Lightning trainer, and through the training."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.profilers import SimpleProfiler
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, Strategy

from attnlab.config.trainer import Trainer as Settings
from attnlab.training.checkpoint import AtomicCheckpointIO, BestCheckpoint
from attnlab.training.progress import Progress
from attnlab.training.safety import KeepFailedBatch, LastCheckpoint, RandomState


def seed_everything(seed: int, settings: Settings) -> None:
    """Seeds, threads and determinism, before anything is built."""
    if settings.threads:
        torch.set_num_threads(settings.threads)
    pl.seed_everything(seed, workers=True, verbose=False)
    if settings.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def build_trainer(
    settings: Settings,
    folder: Path,
    loggers: Sequence[Logger],
    resume_command: str,
    callbacks: Sequence[Callback] = (),
) -> pl.Trainer:
    """The trainer that the settings describe; it writes below `folder` alone."""
    _quieten()
    checkpoints = folder / "checkpoints"
    profiler = SimpleProfiler(dirpath=folder, filename="profile") if settings.profile else None
    return pl.Trainer(
        accelerator=settings.accelerator,
        devices=settings.devices,
        num_nodes=settings.num_nodes,
        strategy=_strategy(settings),
        precision=settings.precision,
        max_epochs=settings.max_epochs,
        max_steps=settings.max_steps,
        **_validation(settings.validate_every),
        accumulate_grad_batches=settings.accumulate,
        gradient_clip_val=settings.clip_norm,
        deterministic="warn" if settings.deterministic else False,
        fast_dev_run=settings.fast_dev_run,
        enable_progress_bar=False,  # `Progress` has one bar for the whole training
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=settings.log_every,
        use_distributed_sampler=False,
        profiler=profiler,
        logger=list(loggers) or False,
        plugins=[AtomicCheckpointIO()],
        default_root_dir=folder,
        callbacks=[
            RandomState(),
            KeepFailedBatch(folder, settings.log_every),
            *(callback.build(settings) for callback in settings.callbacks.values()),
            *callbacks,
            *([Progress()] if settings.progress else []),
            BestCheckpoint(checkpoints, settings.checkpoints.monitor, settings.checkpoints.mode),
            LastCheckpoint(
                checkpoints / "last.ckpt", settings.checkpoints.every_steps, resume_command
            ),
        ],
    )


def _strategy(settings: Settings) -> Strategy | str:
    """How processes work together. Over gloo on a CPU, over NCCL on GPUs."""
    backend = "gloo" if settings.accelerator == "cpu" else None
    if settings.strategy == "ddp":
        return DDPStrategy(process_group_backend=backend)
    if settings.strategy == "fsdp":
        return ModelParallelStrategy(
            data_parallel_size=settings.devices * settings.num_nodes,
            tensor_parallel_size=1,
            save_distributed_checkpoint=False,
            process_group_backend=backend,
        )
    return "auto"


def _validation(every: float) -> dict[str, Any]:
    """Whole epochs and parts of one are two settings in Lightning."""
    if every >= 1:
        return {"check_val_every_n_epoch": round(every), "val_check_interval": 1.0}
    return {"check_val_every_n_epoch": 1, "val_check_interval": every}


def _quieten() -> None:
    """Lightning's advice on matters that the config has decided."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    for message in (
        ".*does not have many workers.*",
        ".*exists and is not empty.*",
        ".*lr_scheduler.step.*before.*optimizer.step.*",
        ".*number of training batches.*smaller than the logging interval.*",
        ".*isinstance.treespec, LeafSpec.*",
        ".*Checkpoint directory.*",
        ".*You're resuming from a checkpoint that ended before the epoch ended.*",
        ".*sync_dist.*",
        ".*FSDP2-wrapped module.*returned a view tensor.*",
        ".*could not find the monitored key.*",
        ".*callbacks used to create the checkpoint.*",
        ".*in eval mode at the start of training.*",  # the mean teacher, which drops nothing
        ".*WeightAveraging callback with a model that overrides.*",  # of shards, which are refused
    ):
        warnings.filterwarnings("ignore", message)
