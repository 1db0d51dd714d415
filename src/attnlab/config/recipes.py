"""`model=auto`: settings that fit one's own files, chosen by the task and the size of the data.

A task's schema gives the recipe (`Task.recipe`). Its settings become further words of the command:
what a user sets wins, and a run's config.yaml holds every value that was chosen.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from pydantic import ValidationError

from attnlab.config.dataset import Dataset
from attnlab.config.section import import_plugins
from attnlab.config.task import Extent, Task
from attnlab.errors import ConfigError, Mistake

AUTO = "model=auto"
USUAL = Extent(examples=1000, words=20.0, spans=False)
PRETRAINED = "`pip install 'attnlab[hf]'` adds model=hf, a pretrained encoder"


def may_apply(words: Sequence[str]) -> bool:
    """Whether these words could leave the settings to a recipe, before anything is composed."""
    return AUTO in words or (
        any(word.startswith("dataset=") for word in words)
        and not any(word.startswith(("model=", "experiment=", "+experiment=")) for word in words)
    )


def added_words(words: Sequence[str], plain: Mapping[str, Any]) -> list[str]:
    """What the recipe adds to a command, where `plain` is what the command composes to.

    Raises:
        ConfigError: `model=auto` where no recipe serves.
    """
    if AUTO in words and any("experiment=" in word and word[0] != "~" for word in words):
        problem = "an experiment has settings of its own"
        raise ConfigError([Mistake("model", f"'auto': {problem}", "leave one of the two out")])
    import_plugins(plain.get("plugins") or [])
    task = Task.kinds().get(str((plain.get("task") or {}).get("kind")))
    extent = _extent(plain.get("dataset"))
    settings = task.recipe(extent) if task and extent else {}
    if not task or not extent or not settings:
        if AUTO not in words:
            return []
        known = sorted(kind for kind, each in Task.kinds().items() if each.recipe(USUAL))
        problem = f"'auto' serves texts in files of one's own, with task={' | '.join(known)}"
        raise ConfigError([Mistake("model", problem, "try: model=recurrent")])
    kept = {key: value for key, value in settings.items() if not _is_set(key, words, plain)}
    say(_told(extent, kept))
    return [f"{key}={_written(value)}" for key, value in kept.items()]


def _extent(dataset: Any) -> Extent | None:
    if not isinstance(dataset, dict):
        return None
    settings = {key: value for key, value in dataset.items() if key != "origin"}  # for people
    try:
        return Dataset.model_validate(settings).extent()
    except ValidationError:  # reported when the whole config is checked
        return None


def _is_set(key: str, words: Sequence[str], plain: Mapping[str, Any]) -> bool:
    """Whether an override sets the key, its parent or a part of it, or there is no such key."""
    for word in words:
        name = word.lstrip("+~").split("=")[0].split("@")[-1]
        if name == key or name.startswith(f"{key}."):
            return True
        within = name.replace("/", ".")
        if "." in within and key.startswith(f"{within}."):
            return True
    section: Any = plain
    for part in key.split("."):
        if not isinstance(section, Mapping) or part not in section:
            return True
        section = section[part]
    return False


def _written(value: Any) -> str:
    """A value in Hydra's grammar."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{_written(each)}" for key, each in value.items()) + "}"
    return value if isinstance(value, str) else json.dumps(value)


def _told(extent: Extent, settings: Mapping[str, Any]) -> str:
    """One line: what was seen, what was chosen, and what else there is."""
    size = f"{extent.examples:,} texts of {extent.words:.0f} words"
    shown = (
        f"{key.split('.', 1)[1]}={value['kind'] if isinstance(value, dict) else _written(value)}"
        for key, value in settings.items()
    )
    return f"{AUTO}: {size} -> {' '.join(shown) or 'nothing that you have not set'}; {PRETRAINED}"


@cache
def say(line: str) -> None:
    """Once, however often a config is composed."""
    print(f"attnlab: {line}", file=sys.stderr)


def text_recipe(data: Extent, monitor: str) -> dict[str, Any]:
    """What tasks that read texts have in common; `monitor` is the headline figure.

    Words with their affixes, whose vectors are short at first, so that rare ones say little. How
    large batches are and how long training lasts depends on how many texts there are: of a few it
    takes more epochs until there are steps enough to average weights over.
    """
    size = 16 if data.examples < 1000 else 32 if data.examples < 20_000 else 64
    an_epoch = -(-max(data.examples, 1) // size)  # steps
    epochs = min(200, max(6, round(2500 / an_epoch)))
    steps = epochs * an_epoch
    patience = max(5, round(200 / an_epoch))
    return {
        "dataset.tokenizer.letters": True,
        "model.embedding_std": 0.06,
        "model.dropout": 0.5,
        "model.unit_dropout": 0.1,
        "trainer.batches.size": size,
        "trainer.max_epochs": epochs,
        "trainer.schedule.warmup_steps": min(100, steps // 10),
        "trainer.callbacks.ema": {"kind": "ema", "decay": min(0.99, round(1 - 10 / steps, 3))},
        "trainer.callbacks.early_stopping": {
            "kind": "early_stopping",
            "patience": patience,
            "min_delta": 0.0,
        },
        "trainer.checkpoints.monitor": monitor,
        "trainer.checkpoints.mode": "max",
    }
