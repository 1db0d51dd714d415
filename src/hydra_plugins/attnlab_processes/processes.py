"""`ProcessLauncher`: each job of `python train.py -m ...` in a process of its own."""

# Hydra executes this file outside sys.modules: a dataclass here cannot have postponed annotations.

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from attnlab.stages.sweep import Sweep, digest


@dataclass
class ProcessLauncherConf:
    """`hydra.launcher.jobs=2` runs two jobs at the same time."""

    _target_: str = "hydra_plugins.attnlab_processes.processes.ProcessLauncher"
    jobs: int = 1


ConfigStore.instance().store(group="hydra/launcher", name="processes", node=ProcessLauncherConf)


class ProcessLauncher(Launcher):
    """Starts the jobs of a sweep, at most `jobs` at the same time."""

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self.runs_folder = Path()

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.runs_folder = Path(config.paths.runs)

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        jobs = [[o for o in job if not o.startswith("hydra.")] for job in job_overrides]
        Sweep(self.runs_folder / "sweeps" / digest(jobs), self.jobs).run_all(jobs)
        return [JobReturn(overrides=job, status=JobStatus.COMPLETED) for job in jobs]
