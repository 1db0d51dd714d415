"""`PreparedData`: the one DataModule, over whatever `prepare` wrote."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader, Subset

from attnlab.config.dataset import Dataset
from attnlab.config.trainer import Trainer
from attnlab.data.annotations import annotated
from attnlab.data.augment import Augmenter
from attnlab.data.example import Example
from attnlab.data.loader import BatchOrder, Items, Loader, UnitOrder, VariedItems, eval_loader
from attnlab.data.prepared import Prepared, Split
from attnlab.data.supervision import labelled, supervised
from attnlab.data.text_augment import TextAugmenter


class PreparedData(pl.LightningDataModule):
    """Loads the splits that a run asks for and hands out batches."""

    def __init__(self, prepared: Prepared, dataset: Dataset, settings: Trainer, seed: int) -> None:
        super().__init__()
        self.prepared, self.dataset, self.settings, self.seed = prepared, dataset, settings, seed
        self.items: dict[str, Items] = {}

    def split(self, split: Split) -> Items:
        """The items of a split."""
        if split not in self.items:
            self.items[split] = self._training() if split == "train" else self._kept(split)
        return self.items[split]

    def _training(self) -> Items:
        """With the maps and the pieces that training gets."""
        examples: Sequence[Example] = self.prepared.examples("train")
        examples = supervised(examples, self.dataset.supervision, self.dataset.targets)
        examples = labelled(examples, self.dataset.labelled)
        if self.dataset.annotations is not None:
            path, form = Path(self.dataset.annotations), self.dataset.answer_form
            examples = annotated(examples, path, form)
        few = self.settings.overfit_batches * self.settings.batches.size
        examples = [examples[i] for i in range(few)] if few else examples
        codec = self.prepared.codec
        steps = {name: each for name, each in self.dataset.augment.items() if each.of_words}
        if steps or codec.varies:
            reword = TextAugmenter(steps, codec) if steps else None
            return VariedItems(examples, codec, self.seed, reword)
        return Items(examples, codec, self.settings.batches.in_memory)

    def _kept(self, split: Split) -> Items:
        """As they are."""
        kept = self.settings.batches.in_memory
        return Items(self.prepared.examples(split), self.prepared.codec, kept)

    def total_steps(self) -> int:
        """Optimizer steps of the whole training."""
        settings = self.settings
        world = 1 if settings.sequence_parallel else settings.devices * settings.num_nodes
        an_epoch = -(-len(self._order(0, world)) // settings.accumulate)
        limits = [settings.max_steps, settings.max_epochs * an_epoch]
        return min(limit for limit in limits if limit > 0)

    def train_dataloader(self) -> Loader:
        order = self._order(*((0, 1) if self.settings.sequence_parallel else self._place()))
        workers = self.settings.batches.workers
        steps = {name: each for name, each in self.dataset.augment.items() if not each.of_words}
        codec = self.prepared.codec
        change = Augmenter(steps, codec, self.seed) if steps else None
        pin, accumulate = torch.cuda.is_available(), self.settings.accumulate
        return Loader(self.split("train"), order, workers, pin, change, accumulate)

    def _order(self, rank: int, world: int) -> BatchOrder:
        batches, sizes = self.settings.batches, self.split("train").sizes
        if batches.units is None:
            order = BatchOrder(sizes[:, 0], batches.size, batches.bucket, self.seed, rank, world)
            if batches.sampling == "balanced":
                order.chances = self.split("train").balanced()
            return order
        return UnitOrder(sizes.max(1), batches.units, self.seed, rank, world)

    def val_dataloader(self) -> DataLoader[Any]:
        return self._eval_loader("val")

    def test_dataloader(self) -> DataLoader[Any]:
        return self._eval_loader("test")

    def _eval_loader(self, split: Split) -> DataLoader[Any]:
        rank, world = self._place()
        items = self.split(split)
        share = Subset(items, range(rank, len(items), world))  # type: ignore[arg-type]
        return eval_loader(share, self.settings.batches.eval_size, torch.cuda.is_available())

    def _place(self) -> tuple[int, int]:
        """The rank of this process and how many there are; one where no trainer is attached."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
