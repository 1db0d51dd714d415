"""Examples on disk: one readable line of JSON each, arrays beside them in `.npy` files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import IO, Any, Self, overload

import numpy as np

from attnlab.data.example import Example
from attnlab.data.target import AttentionTarget
from attnlab.errors import UserError
from attnlab.text_files import WRONG_CONTENT, DamagedFileError, problem

FLOATS, BYTES = "<f4", "|u1"  # as which numbers are kept; pictures come as bytes, and stay so


class Store:
    """The splits of a dataset in one folder: `train.jsonl`, `train.image.npy`, ..."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, split: str, examples: Iterable[Example]) -> int:
        """Write a split; returns how many examples it has."""
        count = 0
        path = self.folder / f"{split}.jsonl"
        with ArrayWriter(self.folder, split) as arrays, path.open("w", encoding="utf-8") as file:
            for count, example in enumerate(examples, start=1):  # noqa: B007
                record = _to_record(example, arrays)
                file.write(json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n")
        return count


class Stored(Sequence[Example]):
    """The examples of some splits, read from disk when they are asked for, in any order."""

    def __init__(self, folder: Path, *splits: str) -> None:
        self.folder, self.splits = folder, splits
        missing = [path for path in map(self._path, splits) if not path.is_file()]
        if missing:
            raise UserError(f"{missing[0]}: missing; try: attnlab prepare")

    def __iter__(self) -> Iterator[Example]:
        for split in self.splits:
            arrays, path = ArrayReader(self.folder, split), self._path(split)
            with path.open("rb") as file:
                for number, line in enumerate(file):
                    yield _example(path, number, line, arrays)

    def __len__(self) -> int:
        return sum(len(part.ends) for part in self._parts)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> list[Example]: ...
    def __getitem__(self, index: int | slice) -> Example | list[Example]:
        if isinstance(index, slice):
            if index.start is None and index.step is None:
                return list(islice(self, index.stop))
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        for part in self._parts:
            if index < len(part.ends):
                return part.example(index)
            index -= len(part.ends)
        raise AssertionError("beyond what range() allows")

    def __reduce__(self) -> tuple[Any, ...]:
        """For another process: where the examples are, not what was read of them."""
        return (Stored, (self.folder, *self.splits))

    def _path(self, split: str) -> Path:
        return self.folder / f"{split}.jsonl"

    @cached_property
    def _parts(self) -> list[Part]:
        return [Part(self._path(split), ArrayReader(self.folder, split)) for split in self.splits]


class Part:
    """One file of lines, and where each of them ends."""

    def __init__(self, path: Path, arrays: ArrayReader) -> None:
        self.arrays = arrays
        self.path = path
        size = path.stat().st_size  # a file without a byte cannot be mapped
        self.bytes = np.memmap(path, np.uint8, "r") if size else np.zeros(0, np.uint8)
        self.ends = np.flatnonzero(self.bytes == ord("\n"))
        if size and (not len(self.ends) or self.ends[-1] + 1 < size):
            raise DamagedFileError(f"{path}: damaged (its last line breaks off); {_again(path)}")

    def example(self, index: int) -> Example:
        start = int(self.ends[index - 1]) + 1 if index else 0
        line = self.bytes[start : int(self.ends[index])].tobytes()
        return _example(self.path, index, line, self.arrays)


class ArrayWriter:
    """Writes arrays of one split as they come; those of one name become one flat file."""

    def __init__(self, folder: Path, split: str) -> None:
        self.folder, self.split = folder, split
        self.files: dict[str, IO[bytes]] = {}
        self.sizes: dict[str, int] = {}
        self.kinds: dict[str, str] = {}

    def add(self, name: str, array: np.ndarray) -> dict[str, Any]:
        """Write the array; what stands for it in the JSON line comes back."""
        if name not in self.files:
            self.files[name], self.sizes[name] = self._part(name).open("wb"), 0
            self.kinds[name] = BYTES if array.dtype == np.uint8 else FLOATS
        start = self.sizes[name]
        self.files[name].write(np.ascontiguousarray(array, self.kinds[name]).tobytes())
        self.sizes[name] = start + array.size
        return {"array": name, "start": start, "shape": list(array.shape)}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Put the header before the numbers: how many there are is known only now."""
        for name, file in self.files.items():
            file.close()
            if error[0] is None:
                self._finish(name)

    def _finish(self, name: str) -> None:
        header = {"descr": self.kinds[name], "fortran_order": False, "shape": (self.sizes[name],)}
        part = self._part(name)
        with (self.folder / f"{self.split}.{name}.npy").open("wb") as whole, part.open("rb") as raw:
            np.lib.format.write_array_header_1_0(whole, header)
            shutil.copyfileobj(raw, whole)
        part.unlink()

    def _part(self, name: str) -> Path:
        return self.folder / f"{self.split}.{name}.part"


class ArrayReader:
    """Gives back what `ArrayWriter` kept, reading from disk only what is asked for."""

    def __init__(self, folder: Path, split: str) -> None:
        self.folder, self.split = folder, split
        self.open: dict[str, np.ndarray] = {}

    def get(self, reference: dict[str, Any]) -> np.ndarray:
        name, start, shape = reference["array"], reference["start"], tuple(reference["shape"])
        if name not in self.open:
            self.open[name] = np.load(self.folder / f"{self.split}.{name}.npy", mmap_mode="r")
        return self.open[name][start : start + int(np.prod(shape))].reshape(shape)


def _example(path: Path, place: int, line: bytes, arrays: ArrayReader) -> Example:
    """The example of a line; a `DamagedFileError` where the line holds none."""
    try:
        return _from_record(json.loads(line), arrays)
    except (*WRONG_CONTENT, OSError) as error:
        raise DamagedFileError(
            f"{path}: line {place + 1} is damaged ({problem(error)}); {_again(path)}"
        ) from error


def _again(path: Path) -> str:
    return f"try: rm -r {path.parent}, then attnlab prepare"


def _to_record(example: Example, arrays: ArrayWriter) -> dict[str, Any]:
    return {
        "id": example.id,
        "inputs": {name: _pack(name, value, arrays) for name, value in example.inputs.items()},
        "answer": _pack("answer", example.answer, arrays),
        "attended": example.attended,
        "references": example.references,
        "target": None if example.target is None else _pack_target(example.target, arrays),
        "meta": example.meta,
    }


def _from_record(record: dict[str, Any], arrays: ArrayReader) -> Example:
    target = record["target"]
    return Example(
        id=record["id"],
        inputs={name: _unpack(value, arrays) for name, value in record["inputs"].items()},
        answer=_unpack(record["answer"], arrays),
        target=None if target is None else _unpack_target(target, arrays),
        attended=record["attended"],
        references=record["references"],
        meta=record["meta"],
    )


def _pack(name: str, value: Any, arrays: ArrayWriter) -> Any:
    return arrays.add(name, value) if isinstance(value, np.ndarray) else value


def _unpack(value: Any, arrays: ArrayReader) -> Any:
    return arrays.get(value) if isinstance(value, dict) and "array" in value else value


def _pack_target(target: AttentionTarget, arrays: ArrayWriter) -> dict[str, Any]:
    return {
        "kind": target.kind,
        "weight": target.weight,
        "shape": list(target.weights.shape),
        "weights": _pack_matrix(target.weights, arrays),
        "possible": None if target.possible is None else _pack_matrix(target.possible, arrays),
        "points": None if target.points is None else _pack_matrix(target.points, arrays),
        "annotators": [_pack_matrix(a, arrays) for a in target.annotators],
        "queries": np.flatnonzero(target.query_mask).tolist(),
        "hidden_keys": np.flatnonzero(~target.key_mask).tolist(),
    }


def _unpack_target(record: dict[str, Any], arrays: ArrayReader) -> AttentionTarget:
    queries, keys = shape = tuple(record["shape"])
    query_mask = np.zeros(queries, dtype=bool)
    query_mask[record["queries"]] = True
    key_mask = np.ones(keys, dtype=bool)
    key_mask[record["hidden_keys"]] = False

    def matrix(packed: dict[str, Any] | None) -> Any:
        return None if packed is None else _unpack_matrix(packed, shape, arrays)

    return AttentionTarget(
        weights=matrix(record["weights"]),
        query_mask=query_mask,
        key_mask=key_mask,
        kind=record["kind"],
        possible=matrix(record["possible"]),
        annotators=tuple(matrix(a) for a in record["annotators"]),
        weight=record["weight"],
        points=matrix(record["points"]),
    )


def _pack_matrix(matrix: np.ndarray, arrays: ArrayWriter) -> dict[str, Any]:
    """Few entries as a list of places, many as an array, which has a bit each if all are one."""
    rows, columns = np.nonzero(matrix)
    if len(rows) > 64 and np.all(matrix[rows, columns] == 1):
        return {"marks": arrays.add("marks", np.packbits(matrix > 0))}
    if len(rows) > 0.25 * matrix.size and matrix.size > 64:
        return arrays.add("target", matrix)
    values = matrix[rows, columns]
    packed: dict[str, Any] = {"rows": rows.tolist(), "columns": columns.tolist()}
    if not np.all(values == 1):
        packed["values"] = values.tolist()
    return packed


def _unpack_matrix(packed: dict[str, Any], shape: Any, arrays: ArrayReader) -> np.ndarray:
    if "array" in packed:
        return arrays.get(packed)
    if "marks" in packed:
        bits = np.unpackbits(arrays.get(packed["marks"]), count=int(np.prod(shape)))
        return bits.reshape(shape).astype(np.float32)
    matrix = np.zeros(shape, dtype=np.float32)
    matrix[packed["rows"], packed["columns"]] = packed.get("values", 1.0)
    return matrix
