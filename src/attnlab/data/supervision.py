"""What training learns from: how many of the targets and whose, and which inputs are missing."""

from __future__ import annotations

import zlib
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, overload

import numpy as np

from attnlab.data.example import Example
from attnlab.data.groups import Groups
from attnlab.data.target import AttentionTarget
from attnlab.errors import UserError, suggest


class View(Sequence[Example]):
    """Examples that are made when they are read."""

    @abstractmethod
    def read(self, index: int) -> Example:
        """The example at a place."""

    @overload
    def __getitem__(self, index: int) -> Example: ...

    @overload
    def __getitem__(self, index: slice) -> list[Example]: ...

    def __getitem__(self, index: int | slice) -> Example | list[Example]:
        if isinstance(index, slice):
            return [self.read(i) for i in range(*index.indices(len(self)))]
        return self.read(index)


@dataclass(frozen=True)
class Changed(View):
    """Each of the examples, changed."""

    examples: Sequence[Example]
    change: Callable[[int, Example], Example]

    def __len__(self) -> int:
        return len(self.examples)

    def read(self, index: int) -> Example:
        return self.change(index, self.examples[index])

    def __iter__(self) -> Iterator[Example]:
        return (self.change(index, example) for index, example in enumerate(self.examples))


@dataclass(frozen=True)
class Chosen(View):
    """Some of the examples, by their places."""

    examples: Sequence[Example]
    places: Sequence[int]

    def __len__(self) -> int:
        return len(self.places)

    def read(self, index: int) -> Example:
        return self.examples[self.places[index]]


@dataclass(frozen=True)
class Joined(View):
    """Some examples, then others."""

    first: Sequence[Example]
    others: Sequence[Example]

    def __len__(self) -> int:
        return len(self.first) + len(self.others)

    def read(self, index: int) -> Example:
        count = len(self.first)
        return self.first[index] if index < count else self.others[index - count]


def supervised(
    examples: Sequence[Example], share: float, targets: Literal["gold", "permuted"]
) -> Sequence[Example]:
    """The examples as training sees them, before annotations.

    Args:
        examples: the training split.
        share: of the targets that are kept.
        targets: whose.
    """
    return withhold(permuted(examples) if targets == "permuted" else examples, share)


def withhold(examples: Sequence[Example], share: float) -> Sequence[Example]:
    """The examples, where only `share` of them keep a target that can be learned from.

    Which ones do depends on their ids alone: a larger share holds the smaller one within it.
    """

    def kept(example: Example) -> bool:
        return zlib.crc32(example.id.encode()) / 2**32 < share

    def change(index: int, example: Example) -> Example:
        return example if example.target is None or kept(example) else _without(example)

    return Changed(examples, change) if share < 1 else examples


def labelled(examples: Sequence[Example], share: float) -> Sequence[Example]:
    """The examples, where only `share` of them keep their label; others have the answer None.

    Which ones do depends on their ids alone.
    """

    def change(index: int, example: Example) -> Example:
        kept = zlib.crc32(f"label of {example.id}".encode()) / 2**32 < share
        return example if kept else replace(example, answer=None)

    return Changed(examples, change) if share < 1 else examples


def permuted(examples: Sequence[Example]) -> Sequence[Example]:
    """The examples, each with the target of another one, stretched to its own shape.

    A negative control: as much supervision, of the same form, that says nothing about the input.
    Where all targets are alike (the same place in every example) it changes nothing.
    """
    order = np.random.default_rng(0).permutation(len(examples))
    giver = np.empty_like(order)
    giver[order] = np.roll(order, -1)

    def change(index: int, example: Example) -> Example:
        return _with_target_of(example, examples[int(giver[index])])

    return Changed(examples, change)


def _with_target_of(example: Example, other: Example) -> Example:
    own, other_target = example.target, other.target
    if own is None or other_target is None:
        return example
    (queries, keys), (old_queries, old_keys) = own.weights.shape, other_target.weights.shape
    if queries != old_queries:
        other_target = other_target.regroup_queries(_stretch(old_queries, queries))
    if keys != old_keys:
        other_target = other_target.regroup_keys(_stretch(old_keys, keys))
    return replace(example, target=replace(other_target, key_mask=own.key_mask))


@lru_cache(maxsize=4096)
def _stretch(old: int, new: int) -> Groups:
    """So many units as so many others, by where each stands on the same line."""
    return Groups.of_spans(
        [(i * old, (i + 1) * old) for i in range(new)],
        [(i * new, (i + 1) * new) for i in range(old)],
    )


def _without(example: Example) -> Example:
    target: AttentionTarget | None = example.target
    return example if target is None else replace(example, target=target.without())


def lacking(
    examples: Sequence[Example], shares: Mapping[str, float], inputs: Collection[str]
) -> Sequence[Example]:
    """The examples, where a share of them lacks an input; `inputs` are those there are.

    Which ones do depends on their ids alone. Gold over what is not there goes with it.
    """
    for name in shares:
        if name not in inputs:
            raise UserError(f"dataset.missing.{name}: no input '{name}'; {suggest(name, inputs)}")

    def lacks(example: Example, name: str) -> bool:
        return zlib.crc32(f"{name} of {example.id}".encode()) / 2**32 < shares.get(name, 0.0)

    def change(index: int, example: Example) -> Example:
        return without(example, [name for name in example.inputs if lacks(example, name)])

    return Changed(examples, change) if shares else examples


def without(example: Example, names: Collection[str]) -> Example:
    """The example without these inputs."""
    inputs = {n: None if n in names else value for n, value in example.inputs.items()}
    target = None if inputs[example.attended] is None else example.target
    return replace(example, inputs=inputs, target=target)
