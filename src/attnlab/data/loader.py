"""`Loader`: batches in an order that depends on the seed and the epoch alone.

What a loader needs to go on in the middle of an epoch is two numbers: the epoch, and how many
batches of it are done. They travel in the checkpoint, so a killed run sees the rest of the epoch
and nothing twice.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Sampler

from attnlab.data.batch import Batch, collate
from attnlab.data.codec import Item


class BatchOrder(Sampler[list[int]]):
    """Which examples make which batch: shuffled, near-equal lengths together.

    With several processes each takes its share of a batch `world` times as large, so that a step
    sees the same examples as one process with a batch of that size.
    """

    def __init__(
        self, lengths: Sequence[int], size: int, bucket: int, seed: int, rank: int, world: int
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
        order = random.permutation(len(self.lengths))
        span = self.size * self.bucket
        if self.bucket > 1:
            spans = [order[i : i + span] for i in range(0, len(order), span)]
            order = np.concatenate([s[np.argsort(self.lengths[s], kind="stable")] for s in spans])
        batches = [order[i : i + self.size].tolist() for i in range(0, len(order), self.size)]
        return [batches[i] for i in random.permutation(len(batches))]


class Loader(DataLoader[Any]):
    """A `DataLoader` that can be stopped after any batch and goes on from there."""

    def __init__(self, items: Sequence[Item], order: BatchOrder, workers: int, pin: bool) -> None:
        super().__init__(
            items,  # type: ignore[arg-type]  # any sequence serves
            batch_sampler=order,
            collate_fn=collate,
            num_workers=workers,
            pin_memory=pin,
            persistent_workers=False,
        )
        self.order = order

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        order = self.order
        epoch, done = order.epoch, order.skip
        for batch in super().__iter__():
            done += 1
            finished = done >= len(order)
            order.epoch, order.skip = (epoch + 1, 0) if finished else (epoch, done)
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Lightning puts this into the checkpoint."""
        return {"epoch": self.order.epoch, "skip": self.order.skip}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.order.epoch, self.order.skip = state["epoch"], state["skip"]


def eval_loader(items: Sequence[Item], size: int, pin: bool) -> DataLoader[Any]:
    """Batches in the order of the items."""
    return DataLoader(
        items,  # type: ignore[arg-type]  # any sequence serves
        batch_size=size,
        collate_fn=collate,
        pin_memory=pin,
    )
