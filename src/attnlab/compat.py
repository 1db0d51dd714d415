"""What is used of other packages beside their public interfaces, and of the C library.

Imports stand inside the functions: no command pays for packages that it does not use.
"""

from __future__ import annotations

import ctypes
import os
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from copy import copy, deepcopy
from functools import wraps
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import wandb
    import yaml
    from lightning.pytorch import Trainer
    from optuna import Study
    from optuna.trial import FrozenTrial, Trial

# Numbers of glibc's malloc.h.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
LARGE = 2**31 - 1  # bytes; mallopt takes no more

# What torchmetrics imports where it is installed, for metrics and plots that are not used here.
EXTRAS_OF_TORCHMETRICS = ("transformers", "scipy", "matplotlib")


def hydra_arguments() -> ArgumentParser:
    """The parser of Hydra's command line, with `help`, `multirun` and `overrides`."""
    from hydra._internal.utils import get_args_parser

    return get_args_parser()


def hydra_sweep(overrides: Sequence[str]) -> list[list[str]]:
    """The overrides of each job that `-m` makes of these; raises Hydra's errors."""
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parsed = OverridesParser.create().parse_overrides(list(overrides))
    return BasicSweeper.split_arguments(parsed, max_batch_size=None)[0]


def quicken_hydra() -> None:
    """Compose in a third of the time: each file is parsed once, and no needless maps are made."""
    from hydra._internal import defaults_list

    if not hasattr(defaults_list._create_interpolation_map, "__wrapped__"):  # not done before
        _make_maps_if_needed()
        _keep_parsed_files()


def _make_maps_if_needed() -> None:
    """No map of choices where no default refers to one.

    Hydra makes one for each file that it reads, from all files above it, and looks into it for
    defaults like `/model: ${task}` alone.
    """
    from hydra._internal import defaults_list
    from omegaconf import OmegaConf

    make = defaults_list._create_interpolation_map

    @wraps(make)
    def if_needed(overrides: Any, defaults: Sequence[Any], self_added: bool) -> Any:
        needed = any(each.is_interpolation() for each in defaults)
        return make(overrides, list(defaults), self_added) if needed else OmegaConf.create()

    defaults_list._create_interpolation_map = if_needed


def _keep_parsed_files() -> None:
    """Parse a file again only where it has changed; Hydra does so at each composition.

    A config without a package becomes a part of what is composed, which overrides change: of such
    a one each composition gets a copy, as it does of the others from Hydra.
    """
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra._internal.config_repository import ConfigRepository
    from hydra.core.object_type import ObjectType
    from hydra.plugins.config_source import ConfigResult

    parse, embed = ConfigRepository.load_config, ConfigLoaderImpl._embed_result_config
    kept: dict[tuple[Any, ...], Any] = {}

    @wraps(parse)
    def load_config(self: ConfigRepository, config_path: str) -> Any:
        source = self._find_object_source(config_path, ObjectType.CONFIG)
        if source is None:
            return parse(self, config_path)
        key: tuple[Any, ...] = (source.provider, source.scheme(), source.path, config_path)
        if source.scheme() == "file":
            state = Path(source.path, source._normalize_file_name(config_path)).stat()
            key += (state.st_mtime_ns, state.st_size, state.st_ino)
        if key not in kept:
            kept[key] = parse(self, config_path)
        return kept[key]

    @wraps(embed)
    def embed_result_config(ret: ConfigResult, package_override: str | None) -> ConfigResult:
        embedded = embed(ret, package_override)
        if embedded is ret:
            embedded = copy(ret)
            embedded.config = deepcopy(ret.config)
        return embedded

    ConfigRepository.load_config = load_config
    ConfigLoaderImpl._embed_result_config = staticmethod(embed_result_config)


def say_hydra_errors(line: Callable[[Exception], str]) -> None:
    """Have programs that compose by Hydra themselves, as DVC does, print this line for an error."""
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra.errors import HydraException

    load = ConfigLoaderImpl.load_configuration

    @wraps(load)
    def loaded(self: ConfigLoaderImpl, *words: Any, **settings: Any) -> Any:
        try:
            return load(self, *words, **settings)
        except HydraException as error:
            error.args = (line(error), *error.args[1:])
            error.__cause__ = None  # would be printed, too
            raise

    ConfigLoaderImpl.load_configuration = loaded


def omegaconf_loader(text: str) -> yaml.SafeLoader:
    """The loader by which OmegaConf reads YAML: `1e-3` is a number, no key stands twice."""
    from omegaconf._utils import get_yaml_loader

    return get_yaml_loader()(text)


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
