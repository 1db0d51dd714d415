"""`attnlab prepare`: write the splits of the dataset, unless they are there and up to date."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from attnlab.config.schema import Config
from attnlab.data.example import Example, Split
from attnlab.data.integrity import META, file_hash
from attnlab.data.prepared import Prepared, Spelling, fingerprint, prepare
from attnlab.data.pretrained import pretrained_pieces
from attnlab.data.target import MapLayout
from attnlab.datasets.catalog import missing_explained
from attnlab.errors import UserError
from attnlab.models.config import HuggingFace
from attnlab.text_files import damage_reported

FROM_CONFIG = "write the dataset's splits to disk"
PACKED = "prepared"  # in the folder of a packed run: what it kept of its data


def main(config: Config, plain: dict[str, Any], overrides: Sequence[str]) -> None:
    """Prepare, and say where it is."""
    prepared = prepared_data(config)
    sizes = ", ".join(f"{split} {size}" for split, size in prepared.meta["sizes"].items())
    print(f"{config.dataset.name}: {sizes}\n  {prepared.folder}")


def prepared_data(config: Config) -> Prepared:
    """The prepared data of a config, made now if need be, with gold over what its model sees."""
    with missing_explained(config.dataset.name, Path(config.paths.data)):
        name = f"{config.dataset.name}-{fingerprint(config.dataset)}"
    prepared = prepare(config.dataset, Path(config.paths.prepared) / name, say=print)
    prepared = prepared.lacking(config.dataset.missing)
    if config.trainer.fast_dev_run:
        prepared = prepared.first(config.trainer.batches.size)
    return prepared.with_layout(layout_of(config), spelling(config), config.task.adapt_answers)


class PackedData(Prepared):
    """What a packed run has of its data: vocabularies and forms. Examples are made when read."""

    def __init__(self, folder: Path, config: Config) -> None:
        """Raises a `UserError` where a file is not what was packed."""
        self.config = config
        of_model = layout_of(config), spelling(config)
        super().__init__(folder, *of_model, config.task.adapt_answers, config.dataset.missing)
        with damage_reported(folder / META, "attnlab zoo pack of the run"):
            packed = TypeAdapter(dict[str, str]).validate_python(self.meta["files"])
        for name, expected in packed.items():
            if not (folder / name).is_file() or file_hash(folder / name) != expected:
                raise UserError(f"{folder / name}: not what was packed; try: attnlab zoo pack")

    @cached_property
    def _made(self) -> Prepared:
        return prepared_data(self.config)

    def examples(self, split: Split) -> Sequence[Example]:
        return self._made.examples(split)


def data_of(folder: Path, config: Config) -> Prepared:
    """The data of a run: those that it brings if it was packed, else as its config makes them."""
    packed = folder / PACKED
    return PackedData(packed, config) if (packed / META).is_file() else prepared_data(config)


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
