"""`model=auto`: settings for a user's own files, chosen by the task and the size of the data.

A task's schema gives the recipe (`Task.recipe`); a model that the user names may have another one
(`Model.recipe`). Its settings, keys and choices of groups (`model`, `task/decoding`), are added to
the overrides of the command. A key that the user sets is left alone. config.yaml records every
chosen value.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from pydantic import ValidationError

from attnlab.config.dataset import Dataset
from attnlab.config.model import Model
from attnlab.config.section import import_plugins
from attnlab.config.task import Extent, Task
from attnlab.errors import ConfigError, Mistake

AUTO = "model=auto"
LONG_TEXT = 200  # words of a text from which on it is read without an encoder
USUAL = [Extent(examples=1000, words=20.0, longest=20), Extent(examples=1000, form="history")]
PLURALS = {"text": ("texts", "words"), "history": ("histories", "items")}
PRETRAINED = "`pip install 'attnlab[hf]'` adds model=hf, a pretrained encoder"


def may_apply(words: Sequence[str]) -> bool:
    """Whether these overrides allow a recipe; decided before anything is composed."""
    return AUTO in words or (
        any(word.startswith("dataset=") for word in words)
        and not any(word.startswith(("experiment=", "+experiment=")) for word in words)
    )


def added_words(
    words: Sequence[str],
    plain: Mapping[str, Any],
    recompose: Callable[[Sequence[str]], Mapping[str, Any] | None],
) -> list[str]:
    """The overrides that the recipe adds to a command that composes to `plain`.

    Args:
        words: the overrides of the command.
        plain: what they compose to.
        recompose: gives what they compose to with further ones; None where that fails.

    Raises:
        ConfigError: `model=auto` where no recipe serves.
    """
    if AUTO in words and any("experiment=" in word and word[0] != "~" for word in words):
        problem = "an experiment has settings of its own"
        raise ConfigError([Mistake("model", f"'auto': {problem}", "leave one of the two out")])
    import_plugins(plain.get("plugins") or [])
    named = [word for word in words if word.startswith("model=") and word != AUTO]
    model = plain.get("model") or {}
    schema = Model.kinds().get(str(model.get("kind")))
    if named and (schema is None or not schema.has_recipe):
        return []
    task = Task.kinds().get(str((plain.get("task") or {}).get("kind")))
    extent = _extent(plain.get("dataset"))
    settings = task.recipe(extent) if task and extent else {}
    if named and extent and settings and schema:
        settings = schema.recipe(extent, settings, model)
    if not task or not extent or not settings:
        if AUTO not in words:
            return []
        known = sorted(k for k, each in Task.kinds().items() if any(map(each.recipe, USUAL)))
        problem = f"'auto' serves files of one's own, with task={' | '.join(known)}"
        raise ConfigError([Mistake("model", problem, "try: model=recurrent")])
    others = [word for word in words if word != AUTO]
    chosen = {key: settings[key] for key in settings if _is_group(key) and not _names(key, others)}
    choices = [f"{key}={value}" for key, value in chosen.items()]
    recomposed = recompose(choices) if choices else plain
    if recomposed is None:  # keys of the user's own belong to other choices
        chosen, choices = {}, []
    plain = recomposed or plain
    keys = {key: value for key, value in settings.items() if not _is_group(key)}
    kept = {key: value for key, value in keys.items() if not _is_set(key, others, plain)}
    say(_summary(named[-1] if named else AUTO, extent, chosen | kept))
    return [*choices, *(f"++{key}={_written(value)}" for key, value in kept.items())]


def _is_group(key: str) -> bool:
    """Whether a recipe's key names a choice of a group, such as `model` or `task/decoding`."""
    return "." not in key


def _names(group: str, words: Sequence[str]) -> bool:
    """Whether an override chooses of the group."""
    return any(word.lstrip("+~").split("=")[0].split("@")[-1] == group for word in words)


def _extent(dataset: Any) -> Extent | None:
    if not isinstance(dataset, dict):
        return None
    settings = {key: value for key, value in dataset.items() if key != "origin"}  # for people
    try:
        return Dataset.model_validate(settings).extent()
    except ValidationError:  # reported when the whole config is checked
        return None


def _is_set(key: str, words: Sequence[str], plain: Mapping[str, Any]) -> bool:
    """Whether an override or a YAML sets the key, its parent or a part of it, or there is none."""
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
            return section != {}  # an empty section takes any part
        section = section[part]
    return isinstance(section, Mapping) and bool(section)


def _written(value: Any) -> str:
    """A value in Hydra's grammar."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{_written(each)}" for key, each in value.items()) + "}"
    return value if isinstance(value, str) else json.dumps(value)


def _summary(model: str, extent: Extent, settings: Mapping[str, Any]) -> str:
    """One line: the size of the data, the chosen settings, and the pretrained alternative."""
    forms, parts = PLURALS.get(extent.form, (f"{extent.form}s", ""))
    size = f"{extent.examples:,} {forms}"
    size += f" of {extent.words:.0f} {parts}" if parts else ""
    shown = (
        f"{key.split('.', 1)[-1]}={value['kind'] if isinstance(value, dict) else _written(value)}"
        for key, value in settings.items()
    )
    more = f"; {PRETRAINED}" if model == AUTO and extent.form == "text" else ""
    return f"{model}: {size} -> {' '.join(shown) or 'nothing that you have not set'}{more}"


@cache
def say(line: str) -> None:
    """Print a line to stderr once, however often a config is composed."""
    print(f"attnlab: {line}", file=sys.stderr)


def one_answer_recipe(data: Extent, monitor: str) -> dict[str, Any]:
    """Settings for one answer to a whole text, picture or sound.

    The checkpoint with the highest `monitor` is kept.
    """
    if data.form == "sound":
        return sound_recipe(data, monitor)
    if data.form == "picture":
        return picture_recipe(data, monitor)
    texts = long_text_recipe if data.words >= LONG_TEXT else text_recipe
    return texts(data, monitor) | {
        "dataset.words.lowercase": True,
        "model.dim": 128,
        "model.embedding_dim": 128,
        "trainer.optimizer.lr": 2e-3,
        "trainer.optimizer.weight_decay": 0.1,
    }


def text_recipe(data: Extent, monitor: str) -> dict[str, Any]:
    """Settings shared by the tasks that read texts; `monitor` is the headline figure.

    Words are embedded with their affixes. Embeddings start small, so that rare words weigh little.
    Batch size and epochs depend on the number of texts: few texts need more epochs to reach the
    number of steps that averaging the weights requires.
    """
    size = 16 if data.examples < 1000 else 32 if data.examples < 20_000 else 64
    settings = {
        "dataset.tokenizer.letters": True,
        "model.embedding_std": 0.06,
        "model.dropout": 0.5,
        "model.unit_dropout": 0.1,
    }
    return averaged(data, monitor, size, settings, least_steps=2500, warm_up=100, decay=0.99)


def long_text_recipe(data: Extent, monitor: str) -> dict[str, Any]:
    """Settings for a label of a text of some hundred words; `monitor` is the headline figure.

    The map is over the words themselves, without an encoder: a recurrent one would take minutes an
    epoch, and what decides stands in a few words of many. Half of the words are hidden in training,
    other ones each time; rare words are unknown.
    """
    settings = {
        "dataset.tokenizer.at_least": 3,
        "model.encoder_layers": 0,
        "model.embedding_std": 0.06,
        "model.dropout": 0.5,
        "model.unit_dropout": 0.5,
    }
    return averaged(data, monitor, 16, settings, least_steps=1500, warm_up=20, decay=0.98)


def averaged(
    data: Extent,
    monitor: str,
    size: int,
    settings: Mapping[str, Any],
    *,
    least_steps: int,
    warm_up: int,
    decay: float,
) -> dict[str, Any]:
    """Settings, trained until `monitor` stops improving; the weights are averaged over steps.

    `warm_up` steps and the `decay` of the average are the most: fewer steps have less of both.
    """
    an_epoch = data.steps(size)
    until = until_it_stops_improving(an_epoch, least_steps, monitor)
    steps = until["trainer.max_epochs"] * an_epoch
    return until | {
        **settings,
        "trainer.batches.size": size,
        "trainer.schedule.warmup_steps": min(warm_up, steps // 10),
        "trainer.callbacks.ema": {"kind": "ema", "decay": min(decay, round(1 - 10 / steps, 3))},
    }


def sound_recipe(data: Extent, monitor: str) -> dict[str, Any]:
    """Settings for sounds; `monitor` is the headline figure.

    Augmentation changes the tempo, adds white noise, and masks bands and frames (SpecAugment).
    Convolutions of stride two shorten the map.
    """
    size = 32
    return until_it_stops_improving(data.steps(size), 1500, monitor) | {
        "dataset.augment.tempo": {"kind": "tempo", "most": 0.1},
        "dataset.augment.noise": {"kind": "mix", "chance": 0.5, "least_snr": 10, "most_snr": 40},
        "model.dropout": 0.2,
        "model.audio.strides": [2, 2],
        "model.audio.blanks.count": 1,
        "trainer.batches.size": size,
        "trainer.batches.bucket": 4,
        "trainer.optimizer.lr": 2e-3,
    }


def picture_recipe(data: Extent, monitor: str) -> dict[str, Any]:
    """Settings for pictures; `monitor` is the headline figure.

    Augmentation rotates, scales, shears and shifts them a little.
    """
    size = 32 if data.examples < 5000 else 128
    return until_it_stops_improving(data.steps(size), 1000, monitor) | {
        "dataset.augment.affine": {
            "kind": "affine",
            "turn": 10,
            "scale": 0.1,
            "shear": 10,
            "shift": 0.08,
        },
        "model.dropout": 0.0,
        "trainer.batches.size": size,
        "trainer.batches.bucket": 1,
        "trainer.optimizer.lr": 4e-3,
    }


def until_it_stops_improving(an_epoch: int, steps: int, monitor: str) -> dict[str, Any]:
    """About so many steps at most, and an end where the figure has been better for long."""
    patience = max(5, round(200 / an_epoch))
    return {
        "trainer.max_epochs": min(200, max(6, round(steps / an_epoch))),
        "trainer.callbacks.early_stopping": {
            "kind": "early_stopping",
            "patience": patience,
            "min_delta": 0.0,
        },
        "trainer.checkpoints.monitor": monitor,
        "trainer.checkpoints.mode": "max",
    }
