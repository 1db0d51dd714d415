"""Prepared data: made once for its settings and code, found again by their fingerprint."""

from __future__ import annotations

import fcntl
import hashlib
import json
import reprlib
import shlex
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from attnlab import __version__
from attnlab.config.dataset import Dataset
from attnlab.config.section import Section, Variant
from attnlab.data.answer import Answer, answer_form
from attnlab.data.codec import Codec
from attnlab.data.example import SPLITS, Example, Source, Split
from attnlab.data.inputs import Input
from attnlab.data.integrity import META, damage, dependencies, digest, hashes, remember
from attnlab.data.pretrained import PretrainedPieces
from attnlab.data.store import Store, Stored
from attnlab.data.supervision import Chosen, lacking
from attnlab.data.target import IDENTITY, MapLayout
from attnlab.errors import UserError

NEEDED = ("fingerprint", "digest", "files", "sizes")  # in meta.json
WRITERS = ("attnlab.data.prepared", "attnlab.data.codec", "attnlab.data.store")
# Settings are in the fingerprint themselves, whatever their schema says of them.
NO_DATA_FROM = ("attnlab.config", "attnlab.errors", "attnlab.text_files", "attnlab.data.integrity")


class Spelling(NamedTuple):
    """The tokenizer that a model brings."""

    pieces: PretrainedPieces
    answers: bool  # whether answers are made of them too


class Prepared:
    """A folder that `prepare` wrote: the splits, the vocabularies and what they were made from."""

    def __init__(
        self,
        folder: Path,
        layout: MapLayout = IDENTITY,
        spelling: Spelling | None = None,
        adapt_answers: Callable[[Answer, Mapping[str, Input]], Answer] | None = None,
        missing: Mapping[str, float] | None = None,
    ) -> None:
        self.folder, self.layout, self.spelling = folder, layout, spelling
        self.adapt_answers = adapt_answers  # to what the task learns
        self.missing = missing or {}  # share of the examples that lack an input, by its name
        self.count: int | None = None  # of the examples of each split; all where None
        self.training: Sequence[int] | None = None  # places of the training examples; all if None
        self.tests: Prepared | None = None  # its test split replaces the own one
        if not (folder / META).is_file():
            raise UserError(f"{folder}: no prepared data; try: attnlab prepare")
        self.meta = _read_meta(folder)

    @cached_property
    def codec(self) -> Codec:
        """The forms and vocabularies of the data, for this map layout, spelling and task."""
        codec = Codec.load(self.folder).with_layout(self.layout)
        if self.spelling is not None:
            codec = codec.spelled(*self.spelling)
        if self.adapt_answers is not None:
            codec = replace(codec, answers=self.adapt_answers(codec.answers, codec.inputs))
        return codec

    def with_layout(
        self,
        layout: MapLayout,
        spelling: Spelling | None = None,
        adapt_answers: Callable[[Answer, Mapping[str, Input]], Answer] | None = None,
    ) -> Prepared:
        """The same data for a model with this map layout and spelling, and for its task."""
        prepared = Prepared(self.folder, layout, spelling, adapt_answers, self.missing)
        prepared.count, prepared.training = self.count, self.training
        return prepared

    def lacking(self, missing: Mapping[str, float]) -> Prepared:
        """The same data, of which shares of the examples lack inputs."""
        return Prepared(self.folder, self.layout, self.spelling, self.adapt_answers, missing)

    def first(self, count: int) -> Prepared:
        """The same data with the first examples of each split alone."""
        few = copy(self)
        few.count = count
        return few

    def trained_on(self, places: Sequence[int]) -> Prepared:
        """The same data with some of the training examples alone."""
        few = copy(self)
        few.training = places
        return few

    def tested_on(self, other: Prepared) -> Prepared:
        """The same data, with the test examples of other data."""
        changed = copy(self)
        changed.tests = other
        return changed

    @property
    def digest(self) -> str:
        """Hash of the data itself; checkpoints carry it."""
        return self.meta["digest"]

    def examples(self, split: Split) -> Sequence[Example]:
        """The examples of a split, read when they are asked for."""
        if split == "test" and self.tests is not None:
            return self.tests.examples("test")
        examples = lacking(Stored(self.folder, split), self.missing, self.codec.inputs)
        if split == "train" and self.training is not None:
            examples = Chosen(examples, self.training)
        return examples if self.count is None else examples[: self.count]


def _read_meta(folder: Path) -> dict[str, Any]:
    try:
        meta = json.loads((folder / META).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise _damaged(folder, [f"{META} is no JSON ({error})"]) from None
    missing = [key for key in NEEDED if key not in meta] if isinstance(meta, dict) else NEEDED
    if missing:
        raise _damaged(folder, [f"{META} has no '{missing[0]}'"])
    return meta


def _damaged(folder: Path, phrases: Sequence[str]) -> UserError:
    more = f"; {len(phrases) - 3} more" if len(phrases) > 3 else ""
    return UserError(
        f"{folder}: damaged: {'; '.join(phrases[:3])}{more}"
        f"\n  try: {shlex.join(['rm', '-r', str(folder)])}, then the same command prepares it anew"
    )


def fingerprint(dataset: Dataset) -> str:
    """Changes with the settings that make the data, the code that does, and the files read."""
    made_by = [part.implementation().__module__ for part in _variants(dataset)]
    made_by.append(answer_form(dataset.answer_form).__module__)
    files = dependencies([*made_by, *WRITERS], without=NO_DATA_FROM)
    source = b"".join(path.read_bytes() for path in files.values())
    settings = json.dumps(dataset.settings(), sort_keys=True, default=str)
    contents = _source(dataset).contents()
    return hashlib.sha256((settings + contents).encode() + source).hexdigest()[:12]


def _variants(value: Any) -> Iterator[Variant]:
    """Whatever has a class that implements it in the settings that make the data."""
    if isinstance(value, Variant):
        yield value
        yield from _variants(value.settings())
    elif isinstance(value, Section):
        yield from _variants(dict(value))
    elif isinstance(value, Mapping | list | tuple):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _variants(part)


def _source(dataset: Dataset) -> Source:
    return dataset.build()


def prepare(
    dataset: Dataset, folder: Path, say: Callable[[str], None] = lambda text: None
) -> Prepared:
    """The prepared data in `folder`, made now unless they are there and up to date.

    Raises:
        UserError: the folder cannot be written to, or what is there was changed since; nothing of
            it is removed.
    """
    mark = fingerprint(dataset)
    if prepared := _up_to_date(folder, mark):
        return prepared
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            if prepared := _up_to_date(folder, mark):  # made by another process meanwhile
                return prepared
            say(f"preparing {dataset.name} in {folder}")
            draft = folder.with_name(f"{folder.name}.part")
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir()
            _write(dataset, draft, mark, say)
            shutil.rmtree(folder, ignore_errors=True)
            draft.rename(folder)
            remember(folder, Prepared(folder).meta["files"])
    except OSError as error:
        raise UserError(
            f"paths.prepared: cannot write to {folder} ({error.strerror}); "
            "try: paths.prepared=OTHER_FOLDER"
        ) from None
    return Prepared(folder)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time makes a folder; the lock of one that was killed is free again."""
    with folder.with_name(f".{folder.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _up_to_date(folder: Path, mark: str) -> Prepared | None:
    """What is there, if it was made from these settings by this code."""
    if not (folder / META).is_file():
        return None
    prepared = Prepared(folder)
    if prepared.meta["fingerprint"] != mark:
        return None
    if phrases := damage(folder, prepared.meta):
        raise _damaged(folder, phrases)
    return prepared


def _write(dataset: Dataset, folder: Path, mark: str, say: Callable[[str], None]) -> None:
    source, store = _source(dataset), Store(folder)
    checked = {split: _checked(source.examples(split), split, dataset) for split in SPLITS}
    sizes = {
        split: store.write(split, _with_bar(checked[split], split, dataset)) for split in SPLITS
    }
    training, others = Stored(folder, "train"), Stored(folder, "val", "test")
    vocabularies = source.vocabularies(training)
    codec = Codec.fit(training, dataset.answer_form, vocabularies, others)
    codec.save(folder)
    notes = dict(source.notes())
    if note := codec.answers.note():
        notes["answers"] = note
    for about, note in notes.items():
        say(f"  {about}: {note}")
    files = hashes(folder)
    meta = {
        "dataset": dataset.name,
        "settings": dataset.model_dump(
            exclude={"name", "supervision", "labelled", "targets", "missing", "annotations"},
            serialize_as_any=True,
        ),
        "fingerprint": mark,
        "sizes": sizes,
        "notes": notes,
        "digest": digest(files),
        "files": files,
        "attnlab": __version__,
    }
    text = json.dumps(meta, indent=2, ensure_ascii=False, default=str)
    (folder / META).write_text(text + "\n", encoding="utf-8")


def _with_bar(examples: Iterable[Example], split: str, dataset: Dataset) -> Iterable[Example]:
    """The examples as they are, with a bar on a terminal while they are gone through."""
    from rich.console import Console
    from rich.progress import track

    console, size = Console(stderr=True), getattr(dataset, split, None)
    return track(
        examples,
        f"preparing {split}",
        total=size if isinstance(size, int) else None,
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def _checked(examples: Iterable[Example], split: str, dataset: Dataset) -> Iterable[Example]:
    """The examples as they are, if there are any and each answer has the form that is declared."""
    empty, form = True, dataset.answer_form
    answers = answer_form(form)
    for example in examples:
        empty = False
        if not answers.accepts(example.answer):
            raise UserError(
                f"dataset: '{dataset.kind}' declares answers of form '{form}', but that of "
                f"{example.id} is {reprlib.repr(example.answer)}"
            )
        yield example
    if empty:
        if isinstance(getattr(dataset, split, None), int):
            raise UserError(f"dataset.{split}: no examples; give it a size above 0")
        raise UserError(
            f"dataset: no examples for '{split}' in what was read; "
            "try: more rows, or a file for each split"
        )
