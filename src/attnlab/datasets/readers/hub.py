"""Datasets of the Hugging Face hub, or saved by the same library, through `datasets`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from attnlab.datasets.readers.rows import Row, RowReader, Where
from attnlab.errors import UserError, suggest

CONVERTED = "refs/convert/parquet"  # where the hub keeps as files what a script once made


class HubReader(RowReader):
    """Rows as they come over the network; a number that stands for a class becomes its name."""

    def __init__(
        self,
        *,
        id: str,  # noqa: A002
        config: str | None,
        revision: str | None,
        numbers: Sequence[str],
    ) -> None:
        self.id, self.config, self.revision = id, config, revision
        self.numbers = numbers

    def files(self, folder: Path, where: Where, key: str) -> list[Path]:
        """Those of a dataset on this machine; what the hub holds is told by `revision` alone."""
        here = folder / self.id
        return sorted(p for p in here.rglob("*") if p.is_file()) if here.is_dir() else []

    def rows(self, folder: Path, where: Where, key: str) -> Iterator[Row]:
        assert isinstance(where, str)
        split = self._split(folder, where, key)
        classes = {column: _classes(feature) for column, feature in (split.features or {}).items()}
        named = {c: names for c, names in classes.items() if names and c not in self.numbers}
        for number, values in enumerate(split, start=1):
            said = {column: _named(values[column], names) for column, names in named.items()}
            yield Row(f"{self.id}:{where}", number, values | said)

    def _split(self, folder: Path, where: str, key: str) -> Any:
        try:
            import datasets
        except ModuleNotFoundError:
            raise UserError(
                "dataset.reader: 'hub' needs datasets; try: pip install 'attnlab[hub]'"
            ) from None
        here = folder / self.id
        if (here / "dataset_dict.json").is_file():
            splits = datasets.load_from_disk(str(here))
            if where not in splits:
                hint = suggest(where, map(str, splits))
                raise UserError(f"{key}: no split '{where}' in {here}; {hint}")
            return splits[where]
        converted = self.revision == CONVERTED  # has a folder for each configuration
        try:
            return datasets.load_dataset(
                str(here) if here.is_dir() else self.id,
                None if converted else self.config,
                data_dir=self.config if converted else None,
                split=where,
                revision=self.revision,
                streaming=True,
            )
        except Exception as error:  # the library raises many kinds, of several packages
            problem = " ".join(str(error).split())[:200]
            raise UserError(f"dataset.reader.id: cannot load '{self.id}' ({problem})") from None


def _classes(feature: Any) -> list[str] | None:
    """What the numbers of a column stand for, or those in its lists, where they are classes."""
    return getattr(getattr(feature, "feature", feature), "names", None)


def _named(value: Any, names: list[str]) -> Any:
    """The name of a class; -1 stands for one that is kept secret."""
    if isinstance(value, list):
        return [_named(each, names) for each in value]
    return names[value] if isinstance(value, int) and value >= 0 else None
