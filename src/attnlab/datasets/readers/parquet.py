"""Parquet, through pyarrow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from attnlab.datasets.readers.row import FileReader, Row
from attnlab.errors import UserError


class ParquetReader(FileReader):
    """Rows in batches, so that a file may be larger than the memory."""

    def __init__(self, *, batch: int) -> None:
        self.batch = batch

    def read(self, path: Path) -> Iterator[Row]:
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ModuleNotFoundError:
            raise UserError(
                "dataset.reader: 'parquet' needs pyarrow; try: pip install 'attnlab[files]'"
            ) from None
        try:
            with pq.ParquetFile(path) as file:
                number = 0
                for batch in file.iter_batches(self.batch):
                    for values in batch.to_pylist():
                        number += 1
                        yield Row(path.name, number, values)
        except pa.ArrowInvalid as error:
            problem = str(error).splitlines()[0]
            raise UserError(f"{path}: damaged, or not Parquet ({problem})") from None
