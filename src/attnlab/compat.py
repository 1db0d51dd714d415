"""What is used of other packages beside their public interfaces, and of the C library.

Imports stand inside the functions: no command pays for packages that it does not use.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import wandb
    from lightning.pytorch import Trainer
    from optuna import Study
    from optuna.trial import FrozenTrial, Trial

# Numbers of glibc's malloc.h.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
LARGE = 2**31 - 1  # bytes; mallopt takes no more

# What torchmetrics imports where it is installed, for metrics and plots that are not used here.
EXTRAS_OF_TORCHMETRICS = ("transformers", "scipy", "matplotlib")


def lightning_steps(trainer: Trainer) -> int:
    """Batches after which the optimizer has stepped: the step that Lightning logs by."""
    return trainer.fit_loop.epoch_loop._batches_that_stepped


def wandb_use_artifact(run: wandb.Run, artifact: wandb.Artifact, aliases: list[str]) -> None:
    """What `run.use_artifact` does with a new artifact; offline that refuses, this does not."""
    run._log_artifact(artifact, aliases=aliases, is_user_created=True, use_after_commit=True)


def wandb_relative_artifacts(run: wandb.Run) -> None:
    """Name the files of artifacts from the folder of the command, where `wandb sync` reads them.

    W&B would write whole paths into the offline log, also for the tables that it stages itself.
    """
    import wandb

    log = run._log_artifact

    def relative(artifact_or_path: Any, *rest: Any, **more: Any) -> wandb.Artifact:
        if isinstance(artifact_or_path, wandb.Artifact):
            for entry in artifact_or_path.manifest.entries.values():
                entry.local_path = entry.local_path and os.path.relpath(entry.local_path)
        return log(artifact_or_path, *rest, **more)

    run._log_artifact = relative


def optuna_reopened(study: Study, trial: FrozenTrial) -> Trial:
    """A trial once more, with the settings that it was given."""
    from optuna.trial import Trial

    return Trial(study, trial._trial_id)


def sacrebleu_statistics(scorer: Any, prediction: str, references: Sequence[str]) -> list[float]:
    """The counts of one segment, which sacrebleu's own bootstrap resamples."""
    streams = [[reference] for reference in references]  # references x segments
    return scorer._extract_corpus_statistics([prediction], streams)[0]


def sacrebleu_score(scorer: Any, statistics: Sequence[int]) -> float:
    """The figure of a corpus from the sums of its counts."""
    return scorer._compute_score_from_stats(list(statistics)).score


def keep_freed_memory() -> None:
    """Let the next step have the memory of the last, as the caches of GPUs do.

    glibc hands large blocks back to the system as they are freed, and the system clears every
    page that it gives out again: a seventh of the time of a small Transformer on a CPU. Who has
    set MALLOC_... in the environment has decided; other C libraries are left alone.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt and not any(name.startswith("MALLOC_") for name in os.environ):
        mallopt(MMAP_THRESHOLD, LARGE)
        mallopt(TRIM_THRESHOLD, LARGE)


class _ExtrasHidden(MetaPathFinder):
    """First in `sys.meta_path`; hides the extras once the import of torchmetrics begins."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> None:
        if name != "torchmetrics":
            return
        show_extras_of_torchmetrics()
        from lightning_utilities.core import imports

        installed, met = imports.package_available, imports.RequirementCache.__bool__
        imports.package_available = lambda name: (  # type: ignore[assignment]
            name not in EXTRAS_OF_TORCHMETRICS and installed(name)
        )
        imports.RequirementCache.__bool__ = lambda cache: (  # type: ignore[method-assign]
            not str(cache.requirement).startswith(EXTRAS_OF_TORCHMETRICS) and met(cache)
        )


def hide_extras_of_torchmetrics() -> None:
    """Let torchmetrics, which Lightning imports, import none of its extras in this process.

    They take two of the five seconds in which a command starts.
    """
    if "torchmetrics" not in sys.modules:
        sys.meta_path.insert(0, _ExtrasHidden())


def show_extras_of_torchmetrics() -> None:
    """Undo it, if torchmetrics is not imported yet: a plugin may need the whole of it."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _ExtrasHidden)]
