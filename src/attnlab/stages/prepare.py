"""`attnlab prepare`: write the splits of the dataset, unless they are there and up to date."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attnlab.config.schema import Config
from attnlab.data.map_layout import MapLayout
from attnlab.data.prepared import Prepared, Spelling, fingerprint, prepare
from attnlab.data.pretrained import pretrained_pieces
from attnlab.models.config import HuggingFace

FROM_CONFIG = "write the dataset's splits to disk"


def main(config: Config, plain: dict[str, Any], overrides: Sequence[str]) -> None:
    """Prepare, and say where it is."""
    prepared = prepared_data(config)
    sizes = ", ".join(f"{split} {size}" for split, size in prepared.meta["sizes"].items())
    print(f"{config.dataset.name}: {sizes}\n  {prepared.folder}")


def prepared_data(config: Config) -> Prepared:
    """The prepared data of a config, made now if need be, with gold over what its model sees."""
    name = f"{config.dataset.name}-{fingerprint(config.dataset)}"
    prepared = prepare(config.dataset, Path(config.paths.prepared) / name, say=print)
    return prepared.lacking(config.dataset.missing).with_layout(layout_of(config), spelling(config))


def layout_of(config: Config) -> MapLayout:
    """How coarse what the model attends to is, and what it says."""
    side, task = config.model.image.stride, config.task
    patch, stride = (side, side), config.model.audio.stride
    return MapLayout(patch, stride, task.looks, task.chosen_whole, task.merges)


def spelling(config: Config) -> Spelling | None:
    """How a pretrained model spells texts, and those that it writes."""
    model = config.model
    if not isinstance(model, HuggingFace):
        return None
    pieces = pretrained_pieces(model.name, model.revision, "model.name")
    return Spelling(pieces, answers=config.task.kind == "generate")
