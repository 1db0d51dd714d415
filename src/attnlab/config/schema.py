"""The whole config, group by group. Types, ranges and meanings; the defaults stand in `conf/`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError

from attnlab.config.attention import AttentionConfig
from attnlab.config.dataset import Dataset
from attnlab.config.evaluation import Explain, MapMetrics
from attnlab.config.model import Model
from attnlab.config.objective import ObjectiveConfig
from attnlab.config.section import Name, Section, config_dir
from attnlab.config.task import Task
from attnlab.config.trainer import Logging, Trainer
from attnlab.errors import Mistake, UserError

LONGEST_NAME = 120
# Groups whose chosen options are part of a run's name, beside dataset, model and attention.
IN_NAME = re.compile(r"(task|objective)(/[^.]*)?|(model|trainer)/[^.]*")
STAGES = ("prepare", "train", "evaluate", "report")


class Hparams(Section):
    """A search over settings, with Optuna."""

    name: Name = Field(description="name of the study; the same name goes on where it stopped")
    trials: int = Field(gt=0, description="runs in all")
    jobs: int = Field(gt=0, description="runs at the same time")
    monitor: str = Field(
        pattern=r"^(train|val)/.+", description="figure over training to improve, by its best value"
    )
    direction: Literal["minimize", "maximize"] = Field(description="which way is better")
    pruner: Literal["none", "median"] = Field(
        description="give up trials that are worse than the median of those before"
    )
    search: dict[str, Any] = Field(
        min_length=1,
        description="key -> {choice: [...]} | {low:, high:, log: true} | {low:, high:, step:}",
    )


class Paths(Section):
    """Folders, relative to where the command was started."""

    data: str = Field(description="raw data")
    prepared: str = Field(description="data as the prepare stage writes it")
    runs: str = Field(description="one folder for each run")
    run: str | None = Field(description="folder of this run; null names it by config and time")


class Config(Section):
    """Everything a run depends on."""

    name: Name = Field(pattern=r"^[\w.=,+-]+$", description="name of the run")
    seed: int = Field(ge=0, lt=2**32, description="seed of weights, order and dropout")
    resume: str = Field(description="never | auto | folder of a run to go on with")
    plugins: list[str] = Field(description="your own modules to import, which register variants")
    stages: list[Literal["prepare", "train", "evaluate", "report"]] = Field(
        description="what `python train.py` does, in this order"
    )
    attention: AttentionConfig
    model: Model
    task: Task
    dataset: Dataset
    objective: ObjectiveConfig
    metrics: MapMetrics
    trainer: Trainer
    logger: Logging
    explain: Explain
    hparams: Hparams | None
    paths: Paths

    def mistakes(self, config: Any) -> Iterator[Mistake]:
        yield from super().mistakes(config)
        in_order = [stage for stage in STAGES if stage in self.stages]
        if not in_order or self.stages != in_order:
            found = f"[{', '.join(self.stages)}] is not allowed"
            yield Mistake(".stages", found, f"one or more, each once, of {', '.join(STAGES)}")
        for stage, needed in (("evaluate", "train"), ("report", "evaluate")):
            if stage in self.stages and needed not in self.stages:
                hint = f"of a run that is there: attnlab {stage} RUN"
                yield Mistake(".stages", f"'{stage}' does nothing without '{needed}'", hint)


def broken_rules(config: Config) -> Iterator[Mistake]:
    """Mistakes that no single field shows."""
    for where, section in sections(config):
        for mistake in section.mistakes(config):
            of_section = mistake.where.startswith(".")
            key = (where + mistake.where).lstrip(".") if of_section else mistake.where
            yield Mistake(key, mistake.problem, mistake.hint)


def sections(value: Any, where: str = "") -> Iterator[tuple[str, Section]]:
    """A section and every section within it, each with its full key; the outermost has none."""
    if isinstance(value, Section):
        yield where, value
        inner = {name: getattr(value, name) for name in type(value).model_fields}
    elif isinstance(value, dict):
        inner = value
    else:
        return
    for name, each in inner.items():
        yield from sections(each, f"{where}.{name}" if where else str(name))


def named_by_differences(plain: Mapping[str, Any], overrides: Sequence[str]) -> Any:
    """The run's name with what differs from the experiment: `dates-recurrent-dot+sparsemax-mine`.

    Parts of the mechanism that are not those of its file stand behind `+`, chosen options of other
    groups behind `-`, but for a task that is the only one for the dataset. A name that the user
    gives stays as it is.
    """
    groups = [plain.get(group) for group in ("dataset", "model", "attention")]
    names = [str(each.get("name")) for each in groups if isinstance(each, dict)]
    if len(names) < len(groups) or plain.get("name") != "-".join(Path(name).name for name in names):
        return plain.get("name")
    parts = [f"+{kind}" for kind in _changed_parts(plain["attention"])]
    words = (override.lstrip("+").partition("=") for override in overrides)
    last = {group: option for group, _, option in words}  # of those said twice
    chosen = [
        option
        for group, option in last.items()
        if IN_NAME.fullmatch(group) and not (group == "task" and option == _only_task(plain))
    ]
    clean = (re.sub(r"[^\w.]+", "+", option).strip("+") for option in chosen)
    options = [f"-{option}" for option in dict.fromkeys(clean) if option]
    return "".join([plain["name"], *parts, *options])[:LONGEST_NAME]


def _only_task(plain: Mapping[str, Any]) -> str:
    """The task that alone learns the dataset's answers, so that no name needs it; '' if several."""
    try:
        dataset = Dataset.model_validate(plain["dataset"])
        suitable = [kind for kind, each in Task.kinds().items() if each.learns(dataset)]
    except (ValidationError, UserError):  # reported when the whole config is checked
        return ""
    return suitable[0] if len(suitable) == 1 else ""


def _changed_parts(attention: Mapping[str, Any]) -> list[str]:
    """The kinds of parts that the mechanism of this name does not have in its own file."""
    group = config_dir() / "attention"
    file = group / f"{attention['name']}.yaml"
    entries = _yaml(file).get("defaults", []) if file.is_file() else []  # a user's is not there
    options = {
        part: name for each in entries if isinstance(each, dict) for part, name in each.items()
    }
    found = {part: attention[part] for part in options if isinstance(attention.get(part), dict)}
    own = {part: _yaml(group / part / f"{options[part]}.yaml").get("kind") for part in found}
    kinds = {part: each.get("kind") for part, each in found.items()}
    return [str(kind) for part, kind in kinds.items() if kind not in (None, own[part])]


def _yaml(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))
