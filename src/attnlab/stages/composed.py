"""The stages that start from a config: `attnlab train` and `attnlab prepare`.

Hydra parses the command line (`--cfg job`, `-m`, completion) and composes; the config
is checked here, before anything heavy is imported.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.utils import get_args_parser
from omegaconf import DictConfig, OmegaConf

from attnlab.config import compose
from attnlab.config.migrations import migrated_overrides
from attnlab.config.schema import Config
from attnlab.errors import ConfigError
from attnlab.stages.usage import usage

Stage = Callable[[Config, dict[str, Any], list[str]], None]


def train(arguments: list[str]) -> None:
    """Prepare, train, evaluate, report: whatever `stages` names. With `hparams`, many times."""

    def go(config: Config, plain: dict[str, Any], overrides: list[str]) -> None:
        if config.hparams is None:
            from attnlab.stages.train import main
        else:
            from attnlab.stages.search import main
        main(config, plain, overrides)

    _composed(go, arguments)


def prepare(arguments: list[str]) -> None:
    """Write the splits of the dataset."""

    def go(config: Config, plain: dict[str, Any], overrides: list[str]) -> None:
        from attnlab.stages.prepare import main

        main(config)

    _composed(go, arguments)


def _composed(go: Stage, arguments: list[str]) -> None:
    """Compose the config from the arguments, check it, and go."""
    if arguments[:1] == ["--params"]:
        return _from_params(go, Path(arguments[1]), arguments[2:])
    given = get_args_parser().parse_args(arguments)
    if given.help:
        print(usage())
        return None
    overrides = migrated_overrides(given.overrides)
    today = dict(zip(given.overrides, overrides, strict=True))
    arguments = [today.get(argument, argument) for argument in arguments]
    failures: list[Exception] = []

    @hydra.main(
        version_base="1.3", config_path=str(compose.config_dir()), config_name=compose.CONFIG_NAME
    )
    def run(composed: DictConfig) -> None:
        sys.argv = program  # with which processes that train together start one another
        try:
            go(*compose.check(composed), overrides)
        except Exception as error:  # Hydra would print its own lines about it
            failures.append(error)

    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come to us, not to Hydra's own printing
    program, sys.argv = sys.argv, [sys.argv[0], *arguments]  # where Hydra reads them
    try:
        run()
    except (*compose.COMPOSITION_ERRORS, ValueError):  # `debug=null` is a ValueError in Hydra
        jobs = compose.jobs_of_sweep(overrides) if given.multirun else [overrides]
        found = {str(mistake): mistake for job in jobs for mistake in compose.diagnose(job)}
        raise ConfigError(list(found.values()), compose.NEXT_COMMAND) from None
    finally:
        sys.argv = program
    if failures:
        raise failures[0]
    return None


def _from_params(go: Stage, path: Path, overrides: list[str]) -> None:
    """The config of a params.yaml, which DVC composes, with a few values set on top."""
    from attnlab.stages import params

    values = OmegaConf.from_dotlist(migrated_overrides(overrides))
    composed = OmegaConf.merge(params.read(path), values)
    assert isinstance(composed, DictConfig)
    config, plain = compose.check(composed)
    if config.paths.run:
        params.forget_stale(config, plain)
    go(config, plain, overrides)
