"""What training may learn maps from: how many of the targets, and whose."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Literal

import numpy as np

from attnlab.data.example import Example
from attnlab.data.groups import Groups
from attnlab.data.target import AttentionTarget


def supervised(
    examples: Sequence[Example], share: float, targets: Literal["gold", "permuted"]
) -> list[Example]:
    """The examples as training sees them."""
    return withhold(permuted(examples) if targets == "permuted" else examples, share)


def withhold(examples: Sequence[Example], share: float) -> list[Example]:
    """The examples, where only `share` of them keep a target that can be learned from.

    Which ones do depends on their ids alone: a larger share holds the smaller one within it.
    """

    def kept(example: Example) -> bool:
        return zlib.crc32(example.id.encode()) / 2**32 < share

    return [
        example if example.target is None or kept(example) else _without(example)
        for example in examples
    ]


def permuted(examples: Sequence[Example]) -> list[Example]:
    """The examples, each with the target of another one, stretched to its own shape.

    A negative control: as much supervision, of the same form, that says nothing about the input.
    Where all targets are alike (the same place in every example) it changes nothing.
    """
    order = np.random.default_rng(0).permutation(len(examples)).tolist()
    giver = dict(zip(order, order[1:] + order[:1], strict=True))
    return [_with_target_of(example, examples[giver[i]]) for i, example in enumerate(examples)]


def _with_target_of(example: Example, other: Example) -> Example:
    own, given = example.target, other.target
    if own is None or given is None:
        return example
    (queries, keys), (old_queries, old_keys) = own.weights.shape, given.weights.shape
    if queries != old_queries:
        given = given.regroup_queries(_stretch(old_queries, queries))
    if keys != old_keys:
        given = given.regroup_keys(_stretch(old_keys, keys))
    return replace(example, target=replace(given, key_mask=own.key_mask))


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
