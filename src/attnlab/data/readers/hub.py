"""Datasets of the Hugging Face hub, or saved by the same library, through `datasets`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attnlab.data.readers.row import Row, RowReader, Where
from attnlab.errors import UserError, suggest


class HubReader(RowReader):
    """Rows as they come over the network; a number that stands for a class becomes its name."""

    def __init__(self, *, id: str, config: str | None, revision: str | None) -> None:  # noqa: A002
        self.id, self.config, self.revision = id, config, revision

    def files(self, folder: Path, where: Where, key: str) -> list[Path]:
        """Those of a saved dataset; what the hub holds is told by `revision` alone."""
        saved = folder / self.id
        return sorted(p for p in saved.rglob("*") if p.is_file()) if saved.is_dir() else []

    def rows(self, folder: Path, where: Where, key: str) -> Iterator[Row]:
        assert isinstance(where, str)
        split = self._split(folder, where, key)
        names = {c: f.names for c, f in (split.features or {}).items() if hasattr(f, "names")}
        for number, values in enumerate(split, start=1):
            named = {c: _name(values[c], known) for c, known in names.items()}
            yield Row(f"{self.id}:{where}", number, values | named)

    def _split(self, folder: Path, where: str, key: str) -> Any:
        try:
            import datasets  # pyright: ignore[reportMissingImports]
        except ModuleNotFoundError:
            raise UserError(
                "dataset.reader: 'hub' needs datasets; try: pip install 'attnlab[hub]'"
            ) from None
        saved = folder / self.id
        if saved.is_dir():
            splits = datasets.load_from_disk(str(saved))
            if where not in splits:
                hint = suggest(where, map(str, splits))
                raise UserError(f"{key}: no split '{where}' in {saved}; {hint}")
            return splits[where]
        try:
            return datasets.load_dataset(
                self.id, self.config, split=where, revision=self.revision, streaming=True
            )
        except Exception as error:  # the library raises many kinds, of several packages
            problem = " ".join(str(error).split())[:200]
            raise UserError(f"dataset.reader.id: cannot load '{self.id}' ({problem})") from None


def _name(value: Any, names: list[str]) -> Any:
    """The name of a class; -1 stands for one that is kept secret."""
    return names[value] if isinstance(value, int) and value >= 0 else None
