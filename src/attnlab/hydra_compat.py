"""What is used of Hydra and OmegaConf beside their public interfaces.

Imports stand inside the functions: a command that composes nothing does not pay for them.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from copy import copy, deepcopy
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import yaml


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
    """Compose in a fifth of the time: each file is parsed once, and all are merged at once."""
    from hydra._internal import defaults_list

    if not hasattr(defaults_list._create_interpolation_map, "__wrapped__"):  # not done before
        _make_maps_if_needed()
        _keep_parsed_files()
        _merge_files_at_once()


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


def _merge_files_at_once() -> None:
    """Merge what files hold as plain maps, and make one config of it.

    Hydra makes a config of each file, and goes through all that was merged before at each merge.
    It still does so for its own settings, which have types, and where a map or a list takes the
    place of a reference to another.
    """
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra.core.default_element import ResultDefault
    from hydra.plugins.config_source import ConfigResult
    from omegaconf import DictConfig, OmegaConf

    load = ConfigLoaderImpl._load_single_config
    compose = ConfigLoaderImpl._compose_config_from_defaults_list

    class Merged(ResultDefault):
        content: dict[Any, Any]

    def content(default: ResultDefault, repository: Any) -> dict[Any, Any] | None:
        """What a file adds to the config; None where Hydra has to do it."""
        result = repository.load_config(default.config_path)
        if result is None or not isinstance(result.config, DictConfig):
            return None
        if not result.path.startswith(("file:", "pkg:")):
            return None
        package = result.header["package"] if default.package is None else default.package
        found: Any = OmegaConf.to_container(result.config)
        for name in reversed(package.split(".") if package else ()):
            found = {name: found}
        return None if not isinstance(found, dict) or "hydra" in found else found

    @wraps(compose)
    def compose_at_once(self: Any, defaults: Sequence[ResultDefault], repo: Any) -> Any:
        parts: list[ResultDefault] = []
        below: dict[Any, Any] | None = None
        for default in defaults:
            added = content(default, repo)
            if added is None:
                below = None
                parts.append(default)
                continue
            if below is None or not _merges_plainly(below, added):
                below = {}
                merged = Merged(default.config_path)
                merged.content = below
                parts.append(merged)
            _merge(below, added)
        return compose(self, parts, repo)

    @wraps(load)
    def load_single(self: Any, default: ResultDefault, repo: Any) -> Any:
        if not isinstance(default, Merged):
            return load(self, default, repo)
        made = OmegaConf.create(default.content)
        return ConfigResult("files", str(default.config_path), made, header={"package": None})

    ConfigLoaderImpl._load_single_config = load_single
    ConfigLoaderImpl._compose_config_from_defaults_list = compose_at_once


def _merges_plainly(below: dict[Any, Any], above: dict[Any, Any]) -> bool:
    """Whether no map or list takes the place of a reference, which might be to another."""
    for key, value in above.items():
        old = below.get(key)
        if isinstance(old, str) and "${" in old and isinstance(value, dict | list):
            return False
        if isinstance(old, dict) and isinstance(value, dict) and not _merges_plainly(old, value):
            return False
    return True


def _merge(below: dict[Any, Any], above: dict[Any, Any]) -> None:
    """Add what lies above; a value that is missing there leaves the one below."""
    for key, value in above.items():
        old = below.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            _merge(old, value)
        elif value != "???" or key not in below:
            below[key] = value


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
