"""Examples that lack an input: a picture without its question, a question without its picture."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from attnlab.data.example import Example
from attnlab.data.supervision import Changed
from attnlab.errors import UserError, suggest


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

    def change(place: int, example: Example) -> Example:
        return without(example, [name for name in example.inputs if lacks(example, name)])

    return Changed(examples, change) if shares else examples


def without(example: Example, names: Collection[str]) -> Example:
    """The example without these inputs."""
    inputs = {n: None if n in names else value for n, value in example.inputs.items()}
    target = None if inputs[example.attended] is None else example.target
    return replace(example, inputs=inputs, target=target)
