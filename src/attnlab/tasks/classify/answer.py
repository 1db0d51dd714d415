"""`Label`: an answer that is one of the labels that occur."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

import torch
from torch import Tensor

from attnlab.data.answer import Answer, TrainingData
from attnlab.data.example import Example
from attnlab.errors import UserError, suggest


@dataclass(frozen=True)
class Label(Answer):
    """One of the labels; some may be learned apart and predicted as one, or never predicted."""

    labels: list[str]
    merges: Mapping[str, str | None] = field(default_factory=dict)
    counts: Sequence[int] = ()  # of each label in training; data of earlier versions have none
    form = "label"
    whole = True

    @classmethod
    def accepts(cls, answer: Any) -> bool:
        return isinstance(answer, str)

    @classmethod
    def fit(cls, data: TrainingData) -> Self:
        counts = Counter(str(example.answer) for example in data.examples)
        labels = sorted({*counts, *(str(example.answer) for example in data.others)})
        return cls(labels, counts=[counts[label] for label in labels])

    def note(self) -> str:
        known = [label for label, count in zip(self.labels, self.counts, strict=True) if count]
        if len(known) != 1:
            return ""
        return f"all training examples have the label '{known[0]}', so that nothing is learned"

    def describe(self) -> dict[str, Any]:
        return {"labels": self.labels, "counts": list(self.counts)}

    def same_choices(self, other: Answer) -> bool:
        return isinstance(other, Label) and self.labels == other.labels

    def balanced_weights(self) -> list[float]:
        """Of each label, so that all of them weigh alike in training and an example weighs 1 in
        the mean; a label that training lacks has none."""
        occurring = sum(count > 0 for count in self.counts)
        return [sum(self.counts) / (occurring * count) if count else 0.0 for count in self.counts]

    def encode(self, example: Example) -> Tensor:
        """1; nothing where nobody knows it."""
        if example.answer is None:
            return torch.empty(0, dtype=torch.long)
        label = str(example.answer)
        if label not in self.labels:
            raise UserError(f"example {example.id}: label '{label}' does not occur in the data")
        return torch.tensor([self.labels.index(label)])

    def text(self, answer: Sequence[int]) -> str:
        """As it is predicted; a label that never is has its own name."""
        merged = self.merged[answer[0]]
        return self.labels[answer[0] if merged is None else merged]

    def named_choices(self) -> Sequence[str]:
        return self.labels

    def merging(self, merges: Mapping[str, str | None]) -> Label:
        """The same labels, some of which are predicted as another."""
        for name in (*merges, *merges.values()):
            if name is not None and name not in self.labels:
                hint = suggest(name, self.labels)
                raise UserError(f"task.merge_labels: the data have no label '{name}'; {hint}")
        for name, merged in merges.items():
            if merged is not None and merges.get(merged, merged) != merged:
                raise UserError(
                    f"task.merge_labels.{name}: '{merged}' is not predicted itself; "
                    f"try: task.merge_labels.{name}={merges[merged] or 'null'}"
                )
        return replace(self, merges=merges)

    @cached_property
    def merged(self) -> list[int | None]:
        """For each label the number of the one that is predicted in its stead."""
        merged = (self.merges.get(label, label) for label in self.labels)
        return [None if label is None else self.labels.index(label) for label in merged]

    @property
    def members(self) -> dict[int, list[int]]:
        """For each label that is predicted the numbers of those merged into it."""
        members: dict[int, list[int]] = {}
        for number, merged in enumerate(self.merged):
            if merged is not None:
                members.setdefault(merged, []).append(number)
        return members
