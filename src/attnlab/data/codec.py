"""`Codec`: an example as tensors, and what a model says as words again.

It states what was found in the training data: the form and size of every input and of the answer.
A model is built from that alone.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from attnlab.data.answer import Answer, TrainingData, answer_form
from attnlab.data.example import ANSWER, Example, absent
from attnlab.data.groups import Groups
from attnlab.data.inputs import Input, Sentences, Text, fit_input, input_of
from attnlab.data.pretrained import PretrainedPieces
from attnlab.data.target import IDENTITY, AttentionTarget, MapLayout, at_groups, at_hops, first_rows
from attnlab.data.tokenizers import Pieces, VariedPieces
from attnlab.data.vocabulary import Vocabulary
from attnlab.text_files import damage_reported, read_json

FILE = "vocabulary.json"
VECTORS = "vectors-{}.npy"  # of an input's words, where they have any before training
Map = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Item:
    """One example as tensors, not yet in a batch."""

    inputs: dict[str, Tensor]  # text: length; picture: channels x height x width; sound: samples
    answer: Tensor
    target: AttentionTarget | None  # queries x keys, over what the model attends to
    index: int  # the example's place in its split
    queries: int  # rows of its map
    keys: int  # what the model attends to
    words: WordMap | None = None  # where gold counts words, and the model pieces of them
    references: Sequence[str] = ()  # texts that the predicted text is compared with
    choices: Sequence[str] = ()  # the attended units, where the answer is one of them
    missing: Collection[str] = ()  # inputs that are not there; something empty stands for them


@dataclass(frozen=True)
class WordMap:
    """What it takes to evaluate a map over pieces as one over words."""

    target: AttentionTarget | None  # over words
    queries: Groups  # from units of the answer to its words
    keys: Groups  # from attended units to words


@dataclass(frozen=True)
class Codec:
    """What a prepared dataset holds, seen by a model of a certain layout."""

    inputs: dict[str, Input]
    answers: Answer
    attended: str  # the input whose units are the keys of gold
    layout: MapLayout = IDENTITY

    @property
    def form(self) -> str:
        """The form of the answers."""
        return self.answers.form

    @property
    def texts(self) -> dict[str, Vocabulary]:
        """The vocabulary of every input that is text."""
        return {n: i.vocabulary for n, i in self.inputs.items() if isinstance(i, Text)}

    @property
    def vocabularies(self) -> dict[str, Vocabulary]:
        """The same, and of every input that is sentences."""
        inputs = self.inputs.items()
        return {n: i.vocabulary for n, i in inputs if isinstance(i, Text | Sentences)}

    @classmethod
    def fit(
        cls,
        examples: Iterable[Example],
        form: str,
        vocabularies: Mapping[str, Vocabulary] | None = None,
        others: Iterable[Example] = (),
    ) -> Codec:
        """What the training examples hold, whose answers are of a form; they are read repeatedly.

        `vocabularies` are those of inputs, and of the ANSWER, that are more than the units that
        occur; `others` are the examples of the other splits.
        """
        known, first = vocabularies or {}, next(iter(examples))
        inputs = {name: fit_input(name, examples, known.get(name)) for name in first.inputs}
        data = TrainingData(examples, inputs, known.get(ANSWER), others)
        return cls(inputs, answer_form(form).fit(data), first.attended)

    def with_layout(self, layout: MapLayout) -> Codec:
        """The same for a model and a task with this map layout."""
        return replace(self, layout=layout)

    def spelled(self, pieces: PretrainedPieces, answers: bool) -> Codec:
        """The same for a model with a tokenizer of its own, which may spell answers as well."""
        inputs = {n: Text(pieces) if isinstance(i, Text) else i for n, i in self.inputs.items()}
        respelled = self.answers.respelled(pieces.bare()) if answers else self.answers
        return replace(self, inputs=inputs, answers=respelled)

    def varied(self, random: Random) -> Codec:
        """The same, with texts in the pieces that training meets this time."""
        inputs = {
            name: replace(i, vocabulary=i.vocabulary.varied(random))
            if isinstance(i, Text | Sentences)
            else i
            for name, i in self.inputs.items()
        }
        return replace(self, inputs=inputs, answers=self.answers.resampled(random))

    @property
    def varies(self) -> bool:
        """Whether training meets texts in other pieces each time."""
        vocabularies = *self.vocabularies.values(), self.answers.vocabulary
        return any(isinstance(vocabulary, VariedPieces) for vocabulary in vocabularies)

    def encode(self, example: Example, index: int) -> Item:
        """The example's numbers, with gold over the units that the model attends to."""
        answer = self.answers.encode(example)
        keys = self.groups(example)
        shape = len(keys) if self._tags_pieces else self.queries(answer), len(keys)
        target = self.target(example, shape[0])
        return Item(
            self.input_tensors(example),
            answer,
            target,
            index,
            *shape,
            self.words(example),
            references=example.references,
            choices=self.answers.choices(example),
            missing=absent(example),
        )

    def encode_unanswered(self, example: Example, index: int) -> Item:
        """The numbers of an example whose answer nobody knows."""
        words = self.words(example) if self._tags_pieces else None
        answer, keys = torch.zeros(1).long(), len(self.groups(example))
        shape = self.queries(answer), keys
        others = {"choices": self.answers.choices(example), "missing": absent(example)}
        return Item(self.input_tensors(example), answer, None, index, *shape, words, **others)

    def input_tensors(self, example: Example) -> dict[str, Tensor]:
        """Its inputs as tensors, what stands for a missing one among them."""
        values = example.inputs
        return {
            name: modality.absent() if values[name] is None else modality.encode(values[name])
            for name, modality in self.inputs.items()
        }

    @property
    def rows_are_hops(self) -> bool:
        """Whether an answer is given as a whole, after some hops, not unit by unit."""
        return self.layout.rows == "hops" or self.answers.whole

    def queries(self, answer: Tensor) -> int:
        """How many rows the map of an encoded answer has."""
        return self.layout.hops if self.rows_are_hops else self.answers.rows(answer)

    def gold(self, example: Example) -> AttentionTarget | None:
        """The example's gold, with a row for each hop where the answer is given as a whole."""
        if example.target is None or not self.rows_are_hops:
            return example.target
        return at_hops(example.target, self.layout.hops)

    def target(self, example: Example, queries: int | None = None) -> AttentionTarget | None:
        """The example's gold over the units that the model attends to, for so many queries."""
        target = self.gold(example)
        if target is None:
            return None
        target = at_groups(target, self.groups(example))
        rows = self.query_groups(example)
        if rows is not None and len(rows) != rows.old:
            target = target.regroup_queries(rows)
        return target if queries is None else first_rows(target, queries)

    def groups(self, example: Example) -> Groups:
        """From the units that the example's gold counts to those that the model attends to."""
        name = self.attended
        return self.inputs[name].groups(example.inputs[name], self.layout)

    def query_groups(self, example: Example) -> Groups | None:
        """From the words of an answer that is written to its units; None for other answers.

        The tag of a word has the rows of the word's pieces.
        """
        if self.rows_are_hops:
            return None
        return self.groups(example) if self._tags_pieces else self.answers.word_groups(example)

    def over_words(self, example: Example, weights: Map, rows: Groups | None = None) -> Map:
        """A map over units of texts as one over their words; rows beyond the answer are left out.

        Rows are averaged, columns summed up, so that a row that summed to one still does. Maps over
        pictures and sounds stay what they are. `rows` are from the units of an answer that a model
        gave to its words; without, the answer is the example's own.
        """
        own = self.query_groups(example) if rows is None else None
        if own is not None and len(own) != own.old:
            rows = own.reverse()
        if rows is not None:
            counted = np.ones(rows.old, bool)
            weights = rows.mean(weights[: rows.old], 0, counted)
        if self._in_pieces(example):
            keys = self.groups(example)
            weights = keys.reverse().share(weights[:, : len(keys)], 1)
        return weights

    def words(self, example: Example) -> WordMap | None:
        """How its map is evaluated over words; None where units are what gold counts."""
        rows = self.query_groups(example)
        if not self._in_pieces(example) and (rows is None or len(rows) == rows.old):
            return None
        gold = self.gold(example)
        if rows is None:
            rows = Groups.same(len(gold.query_mask) if gold else self.layout.hops)
        return WordMap(gold, rows.reverse(), self.groups(example).reverse())

    def target_over_words(self, example: Example) -> AttentionTarget | None:
        """The gold that its map is compared with: over words, where it is a text's."""
        return self.gold(example) if self.words(example) else self.target(example)

    @property
    def _tags_pieces(self) -> bool:
        """Whether answers are tags of words that the model sees in pieces."""
        return self.layout.rows == "input" and isinstance(self.texts.get(self.attended), Pieces)

    def _in_pieces(self, example: Example) -> bool:
        keys = self.groups(example)
        return self.attended in self.texts and len(keys) != keys.old

    def text(self, answer: Any) -> str:
        """An answer, as nested lists, in one line for people."""
        return self.answers.text(answer)

    def save(self, folder: Path) -> None:
        described = {n: {"form": i.form, **i.describe()} for n, i in self.inputs.items()}
        answer = {"form": self.form, **self.answers.describe()}
        content = {"attended": self.attended, "inputs": described, "answer": answer}
        text = json.dumps(content, ensure_ascii=False, indent=0)
        (folder / FILE).write_text(text, encoding="utf-8")
        for name, vocabulary in self.vocabularies.items():
            if vocabulary.vectors is not None:
                np.save(folder / VECTORS.format(name), vocabulary.vectors)

    @classmethod
    def load(cls, folder: Path) -> Codec:
        path, remedy = folder / FILE, f"rm -r {folder}, then attnlab prepare"
        content = read_json(path, remedy, dict[str, Any])
        with damage_reported(path, remedy):
            inputs = {name: input_of(i.pop("form"), i) for name, i in content["inputs"].items()}
            answer = content["answer"]
            form = answer_form(answer.pop("form"))
            codec = cls(inputs, form.from_plain(answer), content["attended"])
        for name, vocabulary in codec.vocabularies.items():
            path = folder / VECTORS.format(name)
            if path.is_file():  # read when a model is made: most who load a codec make none
                with damage_reported(path, remedy):
                    vocabulary.vectors = np.load(path, mmap_mode="r")
        return codec
