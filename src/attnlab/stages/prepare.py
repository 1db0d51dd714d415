"""`attnlab prepare`: write the splits of the dataset, unless they are there and up to date."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attnlab.config.schema import Config
from attnlab.data.prepared import Prepared, Spelling, fingerprint, prepare
from attnlab.data.pretrained import pretrained_pieces
from attnlab.data.target import MapLayout
from attnlab.datasets.catalog import how_to_get
from attnlab.datasets.readers.files import MissingDataError
from attnlab.errors import UserError
from attnlab.models.config import HuggingFace

FROM_CONFIG = "write the dataset's splits to disk"


def main(config: Config, plain: dict[str, Any], overrides: Sequence[str]) -> None:
    """Prepare, and say where it is."""
    prepared = prepared_data(config)
    sizes = ", ".join(f"{split} {size}" for split, size in prepared.meta["sizes"].items())
    print(f"{config.dataset.name}: {sizes}\n  {prepared.folder}")


def prepared_data(config: Config) -> Prepared:
    """The prepared data of a config, made now if need be, with gold over what its model sees."""
    try:
        name = f"{config.dataset.name}-{fingerprint(config.dataset)}"
    except MissingDataError as error:
        how = how_to_get(error.path, Path(config.paths.data), config.dataset.name)
        raise UserError(f"{error}\n  {how}" if how else str(error)) from None
    prepared = prepare(config.dataset, Path(config.paths.prepared) / name, say=print)
    prepared = prepared.lacking(config.dataset.missing)
    if config.trainer.fast_dev_run:
        prepared = prepared.first(config.trainer.batches.size)
    return prepared.with_layout(layout_of(config), spelling(config), config.task.adapt_answers)


def layout_of(config: Config) -> MapLayout:
    """How many input units share one attention key, and what a row of a map belongs to."""
    side, task = config.model.image.stride, config.task
    return MapLayout((side, side), config.model.audio.stride, task.map_rows, task.map_hops)


def spelling(config: Config) -> Spelling | None:
    """How a pretrained model spells texts, and those that it writes."""
    model = config.model
    if not isinstance(model, HuggingFace):
        return None
    pieces = pretrained_pieces(model.name, model.revision, "model.name")
    return Spelling(pieces, answers=config.task.decodes)
