"""The command line of stages that start from a config: `attnlab train`, `attnlab prepare`, yours.

Hydra parses it (`--cfg job`, `-m`, completion) and composes; the config is checked here, before
anything heavy is imported.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from attnlab.config import compose
from attnlab.config.migrations import migrated_overrides
from attnlab.config.schema import Config
from attnlab.config.section import SHARED
from attnlab.datasets.catalog import require_data
from attnlab.errors import ConfigError, Mistake, UserError
from attnlab.hydra_compat import hydra_arguments
from attnlab.training.distributed import is_first_process, require_gpu

SEARCH = "attnlab.stages.search"
EXAMPLES = """attnlab: swap the attention, predict the attention, check the attention.

  python train.py                                      the default experiment
  python train.py attention=dot model=transformer      other choices
  python train.py trainer.max_epochs=5 seed=1          other values
  python train.py -m attention=additive,dot seed=0,1   a sweep, one process a job
  python train.py --cfg job                            every key with its value
  python train.py resume=auto                          go on where a run was stopped

Groups and their choices (group=choice):
"""
FLAGS = """
--help, -h                 this text
--cfg, -c job              print the config instead of running; hydra and all print more
--package, -p KEY          with --cfg: only what stands below the key
--resolve                  with --cfg: values in the place of references
--multirun, -m             a job for each combination of the values given
--info, -i                 what Hydra found and where: all, config, defaults, searchpath ...
--config-dir, -cd FOLDER   a folder of yours with more choices
--hydra-help               Hydra's own flags
--shell-completion, -sc    eval "$(python train.py -sc install=bash)"; also fish and zsh
"""

Go = Callable[[Config, dict[str, Any], list[str]], None]


def run(module: str, arguments: list[str]) -> None:
    """Compose the config from the arguments, check it, and call `main` of a stage's module."""

    def go(config: Config, plain: dict[str, Any], overrides: list[str]) -> None:
        training = module == "attnlab.stages.train"
        if training:
            require_gpu(config.trainer.accelerator)
        search = config.hparams is not None and training
        if is_first_process():
            steps = config.stages if training else [module.rpartition(".")[2]]
            print(f"{config.name}: {'search' if search else ', '.join(steps)}", flush=True)
            require_data(config.dataset, Path(config.paths.data))
        with Console(stderr=True).status("importing torch and lightning"):  # on a terminal alone
            stage = importlib.import_module(SEARCH if search else module)
        stage.main(config, plain, overrides)

    if arguments == ["--params"]:
        raise UserError("--params: needs a file; try: --params params.yaml")
    if arguments[:1] == ["--params"]:
        return _from_params(go, Path(arguments[1]), arguments[2:])
    arguments = compose.with_search_path(arguments)
    compose.require_finite(arguments)
    options = hydra_arguments().parse_args(arguments)
    if options.help:
        print(usage())
        return None
    overrides = migrated_overrides(options.overrides)
    today = dict(zip(options.overrides, overrides, strict=True))
    arguments = [today.get(argument, argument) for argument in arguments]
    if not options.multirun:  # whose jobs do so themselves
        more = options.config_dir
        where = [f"hydra.searchpath=[file://{Path(more).absolute()}]"] if more else []
        last = max((i for i, a in enumerate(arguments) if a in overrides), default=-1)
        arguments[last + 1 : last + 1] = compose.recipe_words(overrides, where)
    failures: list[Exception] = []

    @hydra.main(
        version_base="1.3", config_path=str(compose.config_dir()), config_name=compose.CONFIG_NAME
    )
    def hydra_main(composed: DictConfig) -> None:
        sys.argv = program  # with which processes that train together start one another
        try:
            go(*compose.check(composed, overrides), overrides)
        except Exception as error:  # Hydra would print its own lines about it
            failures.append(error)

    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come to us, not to Hydra's own printing
    program, sys.argv = sys.argv, [sys.argv[0], *arguments]  # where Hydra reads them
    try:
        hydra_main()
    except (*compose.COMPOSITION_ERRORS, ValueError) as error:  # Hydra's for `debug=null`
        jobs = compose.jobs_of_sweep(overrides) if options.multirun else [overrides]
        mistakes = {str(mistake): mistake for job in jobs for mistake in compose.diagnose(job)}
        # None are found where a flag is wrong and no override.
        found = list(mistakes.values()) or [Mistake("config", " ".join(str(error).split()))]
        raise ConfigError(found, compose.NEXT_COMMAND) from None
    finally:
        sys.argv = program
    if failures:
        raise failures[0]
    return None


def _from_params(go: Go, path: Path, overrides: list[str]) -> None:
    """The config of a params.yaml, which DVC composes, with a few values set on top."""
    from attnlab.stages import params

    values = OmegaConf.from_dotlist(migrated_overrides(overrides))
    composed = OmegaConf.merge(params.read(path), values)
    assert isinstance(composed, DictConfig)
    config, plain = compose.check(composed)
    if config.paths.run:
        params.forget_stale(config, plain)
    go(config, plain, overrides)


def usage() -> str:
    """The whole text. Hydra's own takes over a second: it composes each group to list it."""
    return "\n".join([EXAMPLES, *_groups(compose.config_dir()), FLAGS])


def _groups(folder: Path) -> Iterator[str]:
    """A line for each group of `conf/`, with its choices."""
    for group in sorted(path for path in folder.rglob("*") if path.is_dir()):
        name = group.relative_to(folder).as_posix()
        choices = sorted(path.stem for path in group.glob("*.yaml") if path.stem != SHARED)
        if choices and name.split("/")[0] != "hydra":
            yield f"{name}: {', '.join(choices)}"
