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
    from hydra.core.default_element import ResultDefault
    from omegaconf import DictConfig


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
    """Parse each file once, and make no interpolation map that no default uses."""
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


def hydra_compose(name: str, overrides: Sequence[str]) -> DictConfig:
    """What `hydra.compose` returns, in less time: files are merged as plain dicts.

    Hydra makes a config of each file, and goes through all that was merged before at each merge.
    Where the merge of dicts does not serve, and where something is wrong, Hydra composes.
    """
    from hydra import compose

    words = list(overrides)
    quick = _composed_at_once(name, words)
    return compose(name, overrides=words) if quick is None else quick


def _composed_at_once(name: str, overrides: list[str]) -> DictConfig | None:
    """The config without Hydra's own settings; None where Hydra has to compose."""
    from hydra._internal.defaults_list import create_defaults_list
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from hydra.types import RunMode
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    loader: Any = GlobalHydra.instance().config_loader()
    try:
        words, files = loader._parse_overrides_and_create_caching_repo(name, overrides)
        loader.validate_sweep_overrides_legal(words, RunMode.RUN, from_shell=False)
        defaults = create_defaults_list(files, name, words, prepend_hydra=True, skip_missing=False)
        below: dict[Any, Any] = {}
        for default in defaults.defaults:
            if str(default.config_path).startswith("hydra/"):
                continue
            above = _content(default, files)
            if above is None or not _merges_plainly(below, above):
                return None
            _merge(below, above)
        below.pop("hydra", None)
        config = OmegaConf.create(below)
        OmegaConf.set_struct(config, True)
        changes = [w for w in defaults.config_overrides if w.key_or_group != "hydra.searchpath"]
        loader._apply_overrides_to_config(changes, config)
    except (HydraException, OmegaConfBaseException, YAMLError, ValueError):
        return None
    return config


def _content(default: ResultDefault, files: Any) -> dict[Any, Any] | None:
    """What a config file adds; None for what is no file, and where another than the first one has
    settings for Hydra."""
    from omegaconf import DictConfig, OmegaConf

    result = files.load_config(default.config_path)
    if result is None or not isinstance(result.config, DictConfig):
        return None
    if not result.path.startswith(("file:", "pkg:")):
        return None
    package = result.header["package"] if default.package is None else default.package
    found: Any = OmegaConf.to_container(result.config)
    for part in reversed(package.split(".") if package else ()):
        found = {part: found}
    is_ours = isinstance(found, dict) and (default.primary or "hydra" not in found)
    return found if is_ours else None


def _merges_plainly(below: dict[Any, Any], above: dict[Any, Any]) -> bool:
    """Whether both merge as dicts do. A dict or a list over an interpolation does not: OmegaConf
    merges it into what the interpolation refers to."""
    for key, value in above.items():
        old = below.get(key)
        if isinstance(old, str) and "${" in old and isinstance(value, dict | list):
            return False
        if isinstance(old, dict) and isinstance(value, dict) and not _merges_plainly(old, value):
            return False
    return True


def _merge(below: dict[Any, Any], above: dict[Any, Any]) -> None:
    """Merge `above` into `below`, as OmegaConf does; `???` leaves the value below."""
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
