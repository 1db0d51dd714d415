"""`Codec`: an example as tensors, and what a model says as units or labels again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from attnlab.data.example import Example
from attnlab.data.target import AttentionTarget
from attnlab.data.vocabulary import EOS, Vocabulary
from attnlab.errors import UserError

AnswerForm = Literal["units", "label"]


@dataclass(frozen=True)
class Item:
    """One example as tensors, not yet in a batch."""

    inputs: dict[str, Tensor]  # text: length; image: channels x height x width; audio: samples
    answer: Tensor  # units: length with end mark; label: one number
    target: AttentionTarget | None
    index: int  # the example's place in its split


class Codec:
    """The vocabularies of a prepared dataset: one for each text input, one for the answers."""

    def __init__(
        self, texts: dict[str, Vocabulary], answers: Vocabulary | list[str], looks_at: str
    ) -> None:
        self.texts = texts
        self.answers = answers
        self.looks_at = looks_at

    @property
    def form(self) -> AnswerForm:
        """Whether an answer is a sequence of units or one label."""
        return "units" if isinstance(self.answers, Vocabulary) else "label"

    @classmethod
    def fit(cls, examples: Sequence[Example]) -> Codec:
        """Vocabularies of the training examples."""
        first = examples[0]
        names = [name for name, value in first.inputs.items() if isinstance(value, list)]
        texts = {name: Vocabulary.of(e.inputs[name] for e in examples) for name in names}  # type: ignore[misc]
        answers: Vocabulary | list[str]
        if isinstance(first.answer, list):
            answers = Vocabulary.of(e.answer for e in examples)  # type: ignore[misc]
        else:
            answers = sorted({str(e.answer) for e in examples})
        return cls(texts, answers, first.looks_at)

    def encode(self, example: Example, index: int) -> Item:
        """The example's numbers; an answer of units ends with the end mark."""
        inputs = {name: self._input(name, value) for name, value in example.inputs.items()}
        return Item(inputs, self._answer(example), example.target, index)

    def _input(self, name: str, value: Any) -> Tensor:
        if name in self.texts:
            return torch.tensor(self.texts[name].encode(value))  # length
        return torch.from_numpy(np.array(value, dtype=np.float32))

    def _answer(self, example: Example) -> Tensor:
        if isinstance(self.answers, Vocabulary):
            return torch.tensor([*self.answers.encode(example.answer), EOS])  # type: ignore[arg-type]
        label = str(example.answer)
        if label not in self.answers:
            raise UserError(f"example {example.id}: label '{label}' does not occur in training")
        return torch.tensor(self.answers.index(label))

    def text(self, answer: list[int]) -> str:
        """An answer as one string: characters side by side, words apart."""
        if isinstance(self.answers, Vocabulary):
            return self.answers.joint.join(self.answers.decode(answer))
        return self.answers[answer[0]]

    def save(self, folder: Path) -> None:
        for name, vocabulary in self.texts.items():
            vocabulary.save(folder / f"vocabulary.{name}.json")
        answers = self.answers.units if isinstance(self.answers, Vocabulary) else self.answers
        content = {"form": self.form, "answers": answers, "looks_at": self.looks_at}
        text = json.dumps(content | {"texts": list(self.texts)}, ensure_ascii=False, indent=0)
        (folder / "vocabulary.json").write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Codec:
        content = json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))
        texts = {n: Vocabulary.load(folder / f"vocabulary.{n}.json") for n in content["texts"]}
        answers = content["answers"]
        is_units = content["form"] == "units"
        return cls(texts, Vocabulary(answers) if is_units else answers, content["looks_at"])
