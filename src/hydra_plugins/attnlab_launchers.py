"""Each job of `python train.py -m ...` is a process of its own: here, on SLURM or on Ray.

`conf/hydra/launcher/*.yaml` holds the settings and their defaults. Hydra imports this file with
every command, so the executors are imported only when there are jobs.
"""

from __future__ import annotations

import sys
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from attnlab.errors import UserError
from attnlab.hydra_compat import say_hydra_errors

if TYPE_CHECKING:
    from attnlab.stages.executors import Executor


def _mistake(error: Exception) -> str:
    """Hydra's error in the words of attnlab."""
    from attnlab.config.mistakes import from_composition

    return str(from_composition(error, None))


_program = Path(sys.argv[0])
if "dvc" in (_program.stem, _program.parent.name):  # whose `dvc exp run -S` composes by itself
    say_hydra_errors(_mistake)


class SweepLauncher(Launcher):
    """Hands the jobs to a `Sweep`."""

    def __init__(self, jobs: int, **settings: Any) -> None:
        self.jobs = jobs
        self.settings: dict[str, Any] = {
            key: OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
            for key, value in settings.items()
        }
        self.folder = Path()
        self.search_path: list[str] = []

    @abstractmethod
    def executor(self) -> Executor:
        """What runs the jobs."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        if not isinstance(self.jobs, int) or self.jobs < 1:
            raise UserError(f"hydra.launcher.jobs: {self.jobs!r} is not a whole number above 0")
        self.folder = Path(config.paths.runs) / "sweeps"
        own = config.hydra.overrides.hydra
        self.search_path = [o for o in own if o.startswith("hydra.searchpath")]

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        from attnlab.stages.sweep import Sweep

        jobs = [[*self.search_path, *overrides] for overrides in job_overrides]
        Sweep(self.folder, self.executor()).run_all(jobs)
        return [JobReturn(overrides=job, status=JobStatus.COMPLETED) for job in jobs]


class ProcessLauncher(SweepLauncher):
    """Processes of this machine."""

    def executor(self) -> Executor:
        from attnlab.stages.executors import Processes

        return Processes(self.jobs, **self.settings)


class SubmititLauncher(SweepLauncher):
    """Jobs of SLURM, or of submitit's stand-in for it on this machine."""

    def executor(self) -> Executor:
        from attnlab.stages.executors import Submitit

        settings = dict(self.settings)
        return Submitit(settings.pop("cluster"), self.jobs, self.folder, settings)


class RayLauncher(SweepLauncher):
    """Jobs of a Ray cluster."""

    def executor(self) -> Executor:
        from attnlab.stages.executors import Ray

        return Ray(self.jobs, **self.settings)
