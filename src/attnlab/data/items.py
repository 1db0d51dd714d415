"""`Items`: the examples of a split as tensors, made when they are read."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from random import Random

import numpy as np
import numpy.typing as npt

from attnlab.data.codec import Codec, Item
from attnlab.data.example import Example


class Items(Sequence[Item]):
    """Encoded once and kept, up to so many; those beyond are read and encoded each time.

    So a split of any length can be trained on, at the pace of the disk where it does not fit.
    """

    def __init__(self, examples: Sequence[Example], codec: Codec, kept: int) -> None:
        self.examples, self.codec, self.kept = examples, codec, kept
        self.encoded: dict[int, Item] = {}

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, place: int) -> Item:  # type: ignore[override]  # no slices
        item = self.encoded.get(place)
        return item or self._encoded(place, self.examples[place])

    def _encoded(self, place: int, example: Example) -> Item:
        item = self.codec.encode(example, place)
        if len(self.encoded) < self.kept:
            self.encoded[place] = item
        return item

    def begin(self, epoch: int) -> None:
        """Called before the examples are gone through for training."""

    @cached_property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Of each example how much is looked at and how long its answer is: examples x 2."""
        sizes = np.zeros((len(self), 2), np.int64)
        for place, example in enumerate(self.examples):
            item = self._encoded(place, example)
            sizes[place] = item.keys, len(item.answer)
        return sizes


class VariedItems(Items):
    """Encoded anew each time, with texts in other pieces in each epoch.

    What an example looks like depends on the seed, the epoch and its place alone, so that a run
    that was stopped goes on as if it had not been. Sizes are those of its usual pieces.
    """

    def __init__(self, examples: Sequence[Example], codec: Codec, seed: int) -> None:
        super().__init__(examples, codec, kept=0)
        self.seed, self.epoch = seed, 0

    def begin(self, epoch: int) -> None:
        self.epoch = epoch

    def __getitem__(self, place: int) -> Item:  # type: ignore[override]  # no slices
        random = Random(f"{self.seed} {self.epoch} {place}")
        return self.codec.varied(random).encode(self.examples[place], place)
