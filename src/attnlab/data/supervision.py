"""How many of the training examples keep their target."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace

from attnlab.data.example import Example


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


def _without(example: Example) -> Example:
    assert example.target is not None
    return replace(example, target=example.target.without())
