"""Which of the processes of a distributed run this one is."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TypeVar

from attnlab.errors import UserError

Value = TypeVar("Value")

RANKS = ("LOCAL_RANK", "RANK", "NODE_RANK", "SLURM_PROCID")  # Lightning's, torchrun's, SLURM's


def is_first_process() -> bool:
    """Whether this process is the only one of its run, or the first of several: it alone writes."""
    return all(int(os.environ.get(name, "0")) == 0 for name in RANKS)


def require_gpu(accelerator: str) -> None:
    """Raise a `UserError` where a GPU is asked for and there is none; torch is not imported."""
    devices = ("/dev/nvidia[0-9]*", "/dev/kfd", "/dev/dxg")  # NVIDIA, AMD, Windows' subsystem
    if accelerator != "gpu" or not sys.platform.startswith("linux"):
        return
    if not any(any(Path("/").glob(pattern.lstrip("/"))) for pattern in devices):
        raise UserError("trainer.accelerator: no GPU on this machine; try: trainer=cpu")


def part() -> None:
    """Training together is over: what follows, one process does without waiting for others."""
    import torch.distributed  # heavy: whoever asks for a run's folder does not pay for it

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def gather(value: Value) -> list[Value]:
    """The values of all processes in the order of their ranks; one where there is one process."""
    import torch.distributed

    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [value]
    values: list[Value | None] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(values, value)
    return values  # type: ignore[return-value]
