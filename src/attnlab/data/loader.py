"""`Items`: the examples of a split as tensors, made when they are read."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import islice
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from attnlab.data.batch import Batch, collate
from attnlab.data.codec import Codec, Item
from attnlab.data.example import Example

Numbers = npt.NDArray[np.int64]
Lengths = Sequence[int] | Numbers

Change = Callable[[Batch, Sequence[int]], Batch]  # what a batch at this place becomes
Reword = Callable[[Example, Random], Example]  # an example with other words


class Items(Sequence[Item]):
    """Encoded once and kept, up to so many; those beyond are read and encoded each time.

    So a split of any length can be trained on, at the pace of the disk where it does not fit.
    """

    def __init__(self, examples: Sequence[Example], codec: Codec, kept: int) -> None:
        self.examples, self.codec, self.kept = examples, codec, kept
        self.encoded: dict[int, Item] = {}

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Item:  # type: ignore[override]  # no slices
        item = self.encoded.get(index)
        return item or self._encoded(index, self.examples[index])

    def _encoded(self, index: int, example: Example) -> Item:
        item = self.codec.encode(example, index)
        if len(self.encoded) < self.kept:
            self.encoded[index] = item
        return item

    def example(self, index: int) -> Example:
        """The example that is trained on."""
        return self.examples[index]

    def begin(self, epoch: int) -> None:
        """Called before the examples are gone through for training."""

    @cached_property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Attended units and length of the answer of each example: examples x 2."""
        sizes = np.zeros((len(self), 2), np.int64)
        for index, example in enumerate(self.examples):
            item = self._encoded(index, example)
            sizes[index] = item.keys, len(item.answer)
        return sizes

    def balanced(self) -> npt.NDArray[np.float64]:
        """The chance of each example to be drawn where every label is drawn equally often.

        Examples without a label are as many as those of one label.
        """
        encoded = (self[index].answer for index in range(len(self)))
        answers = [int(answer[0]) if len(answer) else -1 for answer in encoded]
        _, labels, counts = np.unique(answers, return_inverse=True, return_counts=True)
        return 1 / (len(counts) * counts[labels])


class VariedItems(Items):
    """Encoded anew each time, with other words or in other pieces in each epoch.

    An example depends on the seed, the epoch and its position alone, so that a run
    that was stopped goes on as if it had not been. Sizes are those of its usual words and pieces.
    """

    def __init__(
        self, examples: Sequence[Example], codec: Codec, seed: int, reword: Reword | None = None
    ) -> None:
        super().__init__(examples, codec, kept=0)
        self.seed, self.epoch, self.reword = seed, 0, reword

    def example(self, index: int) -> Example:
        example = self.examples[index]
        return self.reword(example, self._random(f"words {index}")) if self.reword else example

    def begin(self, epoch: int) -> None:
        self.epoch = epoch

    def __getitem__(self, index: int) -> Item:  # type: ignore[override]  # no slices
        codec = self.codec.varied(self._random(f"{index}")) if self.codec.varies else self.codec
        return codec.encode(self.example(index), index)

    def _random(self, name: str) -> Random:
        return Random(f"{self.seed} {self.epoch} {name}")


class BatchOrder(Sampler[list[int]]):
    """Which examples make which batch: shuffled, near-equal lengths together.

    With several processes each takes its share of a batch `world` times as large, so that a step
    sees the same examples as one process with a batch of that size.

    An epoch has each example once; with `chances`, of each example to be drawn, as many draws.
    """

    chances: npt.NDArray[np.float64] | None = None

    def __init__(
        self, lengths: Lengths, size: int, bucket: int, seed: int, rank: int, world: int
    ) -> None:
        self.lengths = np.asarray(lengths)
        self.size, self.bucket, self.seed = size * world, bucket, seed
        self.rank, self.world = rank, world
        self.epoch = 0
        self.skip = 0  # batches of this epoch that are done already

    def __len__(self) -> int:
        """Batches of a whole epoch, the same number in every process."""
        return math.ceil(len(self.lengths) / self.size)

    def __iter__(self) -> Iterator[list[int]]:
        return iter([self._share(batch) for batch in self._batches()[self.skip :]])

    def _share(self, batch: list[int]) -> list[int]:
        """Every process gets equally many: the first ones again where they do not come out even."""
        missing = -len(batch) % self.world
        return (batch + batch[:1] * missing)[self.rank :: self.world]

    def _batches(self) -> list[list[int]]:
        random = np.random.default_rng((self.seed, self.epoch))
        count = len(self.lengths)
        if self.chances is None:
            batches = self._cut(random.permutation(count))
        else:
            batches = self._cut(random.choice(count, count, p=self.chances))
        return [batches[i] for i in random.permutation(len(batches))]

    def _cut(self, order: Numbers) -> list[list[int]]:
        """Examples in this order as batches."""
        span = self.size * self.bucket
        if self.bucket > 1:
            spans = [order[i : i + span] for i in range(0, len(order), span)]
            order = np.concatenate([s[np.argsort(self.lengths[s], kind="stable")] for s in spans])
        return [order[i : i + self.size].tolist() for i in range(0, len(order), self.size)]


class UnitOrder(BatchOrder):
    """Batches that are full when one more example would make more than `units`, padding included.

    Examples of one length are shuffled among themselves, and the batches are. The lengths alone
    say how many examples each batch has, so every epoch has equally many batches.
    """

    def __init__(self, lengths: Lengths, units: int, seed: int, rank: int, world: int) -> None:
        super().__init__(lengths, 1, 1, seed, rank, world)
        self.ends = _full(np.sort(self.lengths), units * world)

    def __len__(self) -> int:
        return len(self.ends)

    def _cut(self, order: Numbers) -> list[list[int]]:
        order = order[np.argsort(self.lengths[order], kind="stable")]
        starts = [0, *self.ends[:-1]]
        return [order[i:end].tolist() for i, end in zip(starts, self.ends, strict=True)]


def _full(lengths: Numbers, units: int) -> list[int]:
    """Where each batch ends, of examples in order of their lengths; one example is one at least."""
    ends, first = [], 0
    for index, length in enumerate(lengths.tolist()):
        if index > first and (index - first + 1) * length > units:
            ends.append(index)
            first = index
    return [*ends, len(lengths)]


class Loader(DataLoader[Any]):
    """A `DataLoader` that can be stopped after any batch and goes on from there.

    Where an optimizer step takes several batches, each of them holds all of them as its `window`.
    """

    def __init__(
        self,
        items: Sequence[Item],
        order: BatchOrder,
        workers: int,
        pin: bool,
        change: Change | None = None,
        accumulate: int = 1,
    ) -> None:
        super().__init__(
            items,  # type: ignore[arg-type]  # any sequence serves
            batch_sampler=order,
            collate_fn=collate,
            num_workers=workers,
            pin_memory=pin,
            persistent_workers=False,
            generator=torch.Generator(),  # draws nothing from the state that dropout draws from
        )
        self.order, self.change, self.accumulate = order, change, accumulate

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        order = self.order
        epoch, done = order.epoch, order.skip
        if isinstance(self.dataset, Items):
            self.dataset.begin(epoch)  # before workers get their copies
        read = (
            self.change(batch, (epoch, number, order.rank)) if self.change else batch
            for number, batch in enumerate(super().__iter__(), done + 1)
        )
        while window := list(islice(read, self.accumulate)):
            for batch in window:
                done += 1
                finished = done >= len(order)
                order.epoch, order.skip = (epoch + 1, 0) if finished else (epoch, done)
                yield replace(batch, window=window) if self.accumulate > 1 else batch

    def state_dict(self) -> dict[str, int]:
        """Lightning puts this into the checkpoint."""
        return {"epoch": self.order.epoch, "skip": self.order.skip}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.order.epoch, self.order.skip = state["epoch"], state["skip"]


def eval_loader(items: Sequence[Item] | Dataset[Item], size: int, pin: bool) -> DataLoader[Any]:
    """Batches in the order of the items."""
    return DataLoader(
        items,  # type: ignore[arg-type]  # any sequence serves
        batch_size=size,
        collate_fn=collate,
        pin_memory=pin,
        generator=torch.Generator(),  # a validation must not change what training draws
    )
