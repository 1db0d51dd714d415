"""The requests of `attnlab predict`: examples of a split, rows of a file, or values given."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from attnlab.config.compose import config_dir
from attnlab.config.dataset import Dataset
from attnlab.config.schema import Config
from attnlab.data.example import Array, Example, Split, Value
from attnlab.data.inputs import Picture, Sentences, Sound, Text
from attnlab.data.prepared import Prepared
from attnlab.data.vocabulary import Vocabulary
from attnlab.datasets.readers.columns_config import Reader
from attnlab.datasets.readers.config import Files
from attnlab.datasets.readers.files import BadRowError
from attnlab.datasets.readers.pictures import picture_of
from attnlab.datasets.readers.rows import Row
from attnlab.datasets.readers.sounds import adjusted, sound_of
from attnlab.datasets.readers.words import Wording, text
from attnlab.errors import UserError, suggest

TABLES = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".parquet": "parquet"}


@dataclass(frozen=True)
class Request:
    """Something to answer, or why it cannot be."""

    id: str
    example: Example | None
    problem: str = ""
    answered: bool = False  # the example has its gold answer
    row: Mapping[str, Any] = field(default_factory=dict)  # of a file, by column
    column: str = ""  # of the row: what is attended to


def read_requests(
    files: Sequence[str] | None, split: Split, config: Config, prepared: Prepared
) -> Iterator[Request]:
    """The requests, in their order, a few in memory at a time."""
    if not files:
        examples = prepared.examples(split)
        return (Request(example.id, example, answered=True) for example in examples)
    reader = RequestReader(config, prepared)
    return (reader.request(row) for row in _rows(files, list(prepared.codec.inputs)))


def requests_of_values(
    values: Sequence[str | Mapping[str, Any]], config: Config, prepared: Prepared
) -> Iterator[Request]:
    """A request for each text, or for each mapping from the names of inputs to their values."""
    names, reader = list(prepared.codec.inputs), RequestReader(config, prepared)
    rows = []
    for number, each in enumerate(values, 1):
        if not isinstance(each, Mapping) and len(names) > 1:
            raise UserError(f"'{each}': this run reads several inputs: {', '.join(names)}")
        value = each if isinstance(each, Mapping) else {names[0]: each}
        for name in value:
            if name not in names:
                raise UserError(f"input {number}: no '{name}'; {suggest(str(name), names)}")
        for name in names:
            if name not in value and name not in reader.optional:
                raise UserError(f"input {number}: no '{name}' given")
        rows.append(Row("input", number, dict(value)))
    return (reader.request(row) for row in rows)


class RequestReader:
    """Makes examples of rows, as the dataset made those that the model has learned from."""

    def __init__(self, config: Config, prepared: Prepared) -> None:
        dataset = config.dataset
        self.texts, self.attended = prepared.codec.texts, prepared.codec.attended
        self.inputs = prepared.codec.inputs
        self.columns = dict(dataset.inputs) if isinstance(dataset, Files) else {}
        self.optional = set(self.inputs) if config.model.input_dropout else dataset.may_lack
        self.wording = wording_of(dataset)
        self.longest = dataset.words.longest if isinstance(dataset, Files) else None
        seconds, loudness = getattr(dataset, "longest", None), getattr(dataset, "loudness", None)
        self.sound = {"longest": seconds, "loudness": loudness}  # of a dataset of sounds

    def request(self, row: Row) -> Request:
        """The row's inputs; a column is called as in training, or as the input."""
        try:
            if row.problem:
                raise BadRowError(row.problem)
            inputs = {name: self._words(name, row) for name in self.inputs}
        except BadRowError as error:
            return Request(row.place, None, str(error))
        example = Example(row.place, inputs, None, attended=self.attended)
        column = self._column(self.attended, row)
        return Request(row.place, example, row=row.values, column=column)

    def _words(self, name: str, row: Row) -> Value:
        """The words of an input; None where it may be missing, and is."""
        column = self._column(name, row)
        value = row.values.get(column)
        if isinstance(value, np.ndarray):
            return self._array(name, value)
        if name in self.optional and value in (None, "", []):
            return None
        if column not in row.values:
            hint = suggest(self.columns.get(name, name), row.values)
            raise UserError(f"--input: no column '{name}' in {row.file}; {hint}")
        if not isinstance(self.inputs[name], Text | Sentences):
            return self._file(name, text(value, column))
        return self._read(name, value, column)[: self.longest]

    def _column(self, name: str, row: Row) -> str:
        """Where a row has an input."""
        column = self.columns.get(name, name)
        return column if column in row.values else name

    def _array(self, name: str, value: np.ndarray) -> Array:
        """Pixels (channels x height x width) or samples."""
        modality, axes = self.inputs[name], value.ndim
        if isinstance(modality, Text | Sentences):
            raise BadRowError(f"'{name}' is a {modality.form}, not an array")
        if isinstance(modality, Sound) and axes != 1:
            raise BadRowError(f"'{name}' has {axes} axes; samples of a sound have one")
        # Bytes as shares of light: pictures of both kinds may be in one batch.
        scale = 255 if value.dtype == np.uint8 and isinstance(modality, Picture) else 1
        return value.astype(np.float32) / np.float32(scale)

    def _file(self, name: str, path: str) -> Array:
        """The picture or sound of a file, as the model reads it."""
        modality = self.inputs[name]
        try:
            content = Path(path).read_bytes()
        except OSError as error:
            problem = f"'{name}' is a {modality.form}: a file or an array is needed"
            raise BadRowError(f"{problem}; {path}: {error.strerror}") from None
        if isinstance(modality, Picture):
            size = modality.height, modality.width
            return self._array(name, picture_of(content, path, modality.channels, size))
        assert isinstance(modality, Sound)
        samples = sound_of(content, path, modality.sample_rate)
        if not len(samples):
            raise BadRowError(f"'{path}' is empty")
        return adjusted(samples, modality.sample_rate, **self.sound)

    def _read(self, name: str, value: Any, column: str) -> list[str] | list[list[str]]:
        modality = self.inputs[name]
        if self.wording is not None and isinstance(modality, Sentences):
            return self.wording.in_sentences(value, column).units
        return in_units(value, self.wording, self.texts[name], column)


def wording_of(dataset: Dataset) -> Wording | None:
    """How the dataset makes words of texts; None where it makes its texts itself."""
    return Wording.by(dataset.words) if isinstance(dataset, Files) else None


def in_units(value: Any, wording: Wording | None, vocabulary: Vocabulary, column: str) -> list[str]:
    """A text as the dataset has it: words by its rules, or the units that it makes itself."""
    if wording is not None:
        return wording.of(value, column).words
    if isinstance(value, list):
        return [text(unit, column) for unit in value]
    line = text(value, column)
    units = line.split() if vocabulary.joint else list(line)
    if not units:
        raise BadRowError(f"'{column}' is empty")
    return units


def _rows(files: Sequence[str], names: Sequence[str]) -> Iterator[Row]:
    """Of one table, or of a file of lines for each input."""
    if files == ["-"] and len(names) == 1:
        return _typed(names[0])
    suffix = "".join(Path(files[0]).suffixes[:1])
    if len(files) == 1 and "=" not in files[0] and suffix in TABLES:
        return _reader(TABLES[suffix]).rows(Path(), files[0], "--input")
    if len(files) == 1 and "=" not in files[0] and len(names) == 1:
        return _reader("lines").rows(Path(), {names[0]: files[0]}, "--input")
    named: dict[str, str | None] = {n: f for n, _, f in (each.partition("=") for each in files)}
    if set(named) != set(names):
        wanted = " ".join(f"{name}=FILE" for name in names)
        raise UserError(
            f"--input: cannot read {' '.join(files)}; try: --input {wanted}, or a .jsonl"
        )
    return _reader("lines").rows(Path(), named, "--input")


def _typed(name: str) -> Iterator[Row]:
    """Lines of the standard input."""
    for number, line in enumerate(sys.stdin, 1):
        yield Row("-", number, {name: line.rstrip("\r\n")})


def _reader(kind: str):
    settings = OmegaConf.to_container(
        OmegaConf.load(config_dir() / "dataset/reader" / f"{kind}.yaml")
    )
    return Reader.model_validate(settings).build()
