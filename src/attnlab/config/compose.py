"""From YAML and overrides to a checked `Config`, and from every failure to plain lines.

Hydra composes, OmegaConf resolves, pydantic checks. A mistake on any of the three levels ends as
a `Mistake` with its full key; all of them are collected before the user is told.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError

from attnlab.config.dataset import Dataset
from attnlab.config.migrations import migrated, migrated_overrides
from attnlab.config.mistakes import from_composition, from_omegaconf, mistake_from
from attnlab.config.objective import Term
from attnlab.config.recipes import added_words, may_apply, say
from attnlab.config.schema import Config, broken_rules, named_by_differences
from attnlab.config.section import config_dir, import_plugins
from attnlab.errors import ConfigError, Mistake, UserError
from attnlab.hydra_compat import hydra_compose, hydra_sweep, quicken_hydra
from attnlab.text_files import require_finite_yaml

CONFIG_NAME = "config"
COMPOSITION_ERRORS = (HydraException, OmegaConfBaseException, yaml.YAMLError)
SEARCHED = re.compile(r"file://([^,'\"\]]+)")  # folders in the value of hydra.searchpath
NEXT_COMMAND = "python train.py --cfg job   (shows every key with its value)"


quicken_hydra()


def compose(
    overrides: Sequence[str] = (), folder: Path | None = None, *, recipe: bool = True
) -> DictConfig:
    """What Hydra makes of `conf/`, the overrides and a recipe; raises Hydra's own errors."""
    overrides = migrated_overrides(overrides)
    config = _composed(overrides, folder)
    more = _added_words(config, overrides, folder) if recipe and may_apply(overrides) else []
    return _composed([*overrides, *more], folder) if more else config


def recipe_words(overrides: Sequence[str], flags: Sequence[str] = ()) -> list[str]:
    """The overrides that `model=auto` adds; none where the command does not compose.

    `flags` are overrides for Hydra itself, such as where more YAML files are.
    """
    if not may_apply(overrides):
        return []
    try:
        return _added_words(_composed([*overrides, *flags], None), overrides, None, flags)
    except COMPOSITION_ERRORS:
        return []


def _added_words(
    config: DictConfig, overrides: Sequence[str], folder: Path | None, flags: Sequence[str] = ()
) -> list[str]:
    """What a recipe adds to a config that was composed without one."""

    def recomposed(more: Sequence[str]) -> dict[str, Any] | None:
        try:
            return plain(_composed([*overrides, *flags, *more], folder))
        except COMPOSITION_ERRORS:
            return None

    def plain(config: DictConfig) -> dict[str, Any]:
        return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]

    try:
        return added_words(overrides, plain(config), recomposed)
    except OmegaConfBaseException:  # reported when the whole config is checked
        return []


def require_finite(words: Sequence[str]) -> None:
    """Raise a `UserError` for YAML in a folder of `hydra.searchpath` that has no end."""
    for word in words:
        if word.lstrip("+").startswith("hydra.searchpath="):
            for folder in SEARCHED.findall(word):
                require_finite_yaml(Path(folder))


def _composed(overrides: Sequence[str], folder: Path | None) -> DictConfig:
    require_finite(overrides)
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(folder or config_dir()), version_base="1.3"):
        try:
            return hydra_compose(CONFIG_NAME, overrides)
        except ValueError as error:  # Hydra's way to refuse `debug=null`
            raise HydraException(f"{error}; to choose none of a group: '~group'") from None


def quoted(value: str) -> str:
    """A text as a value in Hydra's grammar, whatever characters it holds."""
    return "'" + re.sub(r"(\\*)(?='|$)", r"\1\1", value).replace("'", r"\'") + "'"


def with_search_path(arguments: list[str]) -> list[str]:
    """Replace `--config-dir FOLDER` by the same override of `hydra.searchpath`.

    Overrides reach what composes once more: jobs of sweeps, a run that goes on, lists of mistakes.
    """
    words: list[str] = []
    folders: list[str] = []
    rest = iter(arguments)
    for word in rest:
        flag, equals, folder = word.partition("=")
        if flag not in ("--config-dir", "-cd"):
            words.append(word)
        elif folder := folder if equals else next(rest, ""):
            folders.append(folder)
        else:
            raise UserError(f"{flag}: needs a folder; try: {flag} my_conf")
    for folder in folders:
        if not Path(folder).is_dir():
            raise UserError(f"--config-dir: no folder {folder}")
    paths = ",".join(quoted(f"file://{Path(folder).resolve()}") for folder in folders)
    if not folders:
        return words
    # Beside the other overrides: argparse takes them in one piece alone.
    own = (i for i, word in enumerate(words) if word.startswith(("~", "+")) or "=" in word)
    first = next((i for i in own if not words[i].startswith("-")), len(words))
    return [*words[:first], f"hydra.searchpath=[{paths}]", *words[first:]]


def load(overrides: Sequence[str] = (), folder: Path | None = None) -> tuple[Config, dict]:
    """Compose and check in one go; raises `ConfigError` with every mistake."""
    try:
        composed = compose(overrides, folder)
    except COMPOSITION_ERRORS:
        raise ConfigError(diagnose(overrides, folder), NEXT_COMMAND) from None
    return check(composed, overrides)


def check(composed: DictConfig, overrides: Sequence[str] = ()) -> tuple[Config, dict[str, Any]]:
    """The checked config of the user's own command, and the same as plain values.

    Imports its plugins. The overrides that made it are for the run's name. Raises `ConfigError`.
    """
    plain = resolve(composed)
    plain |= {"name": named_by_differences(plain, overrides)}
    import_plugins(plain.get("plugins") or [])
    plain = _without_missing_gold(plain)
    return checked(plain), plain


def checked(plain: dict[str, Any]) -> Config:
    """The config that plain values make, whose plugins are imported; raises `ConfigError`."""
    mistakes = list(find_mistakes(plain))
    if mistakes:
        raise ConfigError(mistakes, NEXT_COMMAND)
    return Config.model_validate(plain)


def resolve(composed: DictConfig) -> dict[str, Any]:
    """Plain values, with every interpolation followed now rather than somewhere in the run."""
    try:
        plain = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise ConfigError([from_omegaconf(error)], NEXT_COMMAND) from None
    assert isinstance(plain, dict)
    if isinstance(plain.get("dataset"), dict):
        plain["dataset"].pop("origin", None)  # for people, and for `attnlab data`
    return migrated(_short_name(plain))  # type: ignore[arg-type]


def _short_name(plain: dict[str, Any]) -> dict[str, Any]:
    """A run is named by its model, without the folder or owner of a pretrained one."""
    model = plain.get("model")
    name = model.get("name") if isinstance(model, dict) else None
    if not isinstance(name, str) or "/" not in name:
        return plain
    return plain | {"name": str(plain.get("name")).replace(name, Path(name).name)}


def _without_missing_gold(plain: dict[str, Any]) -> dict[str, Any]:
    """Without losses and figures that compare maps with gold, where the dataset has none."""
    try:
        why = Dataset.model_validate(plain.get("dataset")).without_gold
    except ValidationError:  # whose mistakes are found later
        return plain
    objective, metrics = plain.get("objective"), plain.get("metrics")
    if not why or not isinstance(objective, dict) or not isinstance(metrics, dict):
        return plain
    taught = objective.get("teacher") is not None  # whose maps take the place of gold
    terms = dict(objective.get("terms") or {})
    off = [] if taught else [name for name, term in terms.items() if _learns_gold(term)]
    keys = [f"objective.terms.{name}" for name in off]
    keys += ["metrics.figures"] if metrics.get("figures") else []
    if not keys:
        return plain
    say(f"{' and '.join(keys)} left out: {why}")
    objective = objective | {"terms": terms | dict.fromkeys(off)}
    if off and objective.get("name") == "supervised":
        objective["name"] = "unsupervised"
    return plain | {"objective": objective, "metrics": metrics | {"figures": []}}


def _learns_gold(term: Any) -> bool:
    schema = Term.kinds().get(str(term.get("kind"))) if isinstance(term, dict) else None
    return schema is not None and schema.learns_gold


def find_mistakes(plain: dict[str, Any]) -> Iterator[Mistake]:
    """Everything wrong with plain values: first their form, then what does not go together."""
    try:
        config = Config.model_validate(plain)
    except ValidationError as error:
        for details in error.errors(include_url=False):
            yield mistake_from(details, plain)
    else:
        yield from broken_rules(config)


def jobs_of_sweep(overrides: Sequence[str]) -> list[list[str]]:
    """The overrides of each job that `-m` makes of these; themselves where they do not parse."""
    try:
        return hydra_sweep(overrides)
    except HydraException:
        return [list(overrides)]


def diagnose(overrides: Sequence[str], folder: Path | None = None) -> list[Mistake]:
    """Why these overrides do not compose: drop each offending one in turn and go on looking."""
    remaining, mistakes = list(overrides), []
    while True:
        try:
            plain = resolve(compose(remaining, folder))
        except ConfigError as error:
            return mistakes + error.mistakes
        except COMPOSITION_ERRORS as error:
            mistakes.append(from_composition(error, folder))
            wrong = [o for o in remaining if _is_about(o, mistakes[-1].where)]
            if not wrong:
                return mistakes
            remaining = [o for o in remaining if o not in wrong]
        else:
            import_plugins(plain.get("plugins") or [])
            return mistakes + list(find_mistakes(_without_missing_gold(plain)))


def _is_about(override: str, where: str) -> bool:
    return override == where or override.lstrip("+~").split("=")[0].split("@")[0] == where
