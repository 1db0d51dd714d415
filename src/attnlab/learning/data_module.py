"""`PreparedData`: the one DataModule, over whatever `prepare` wrote."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader

from attnlab.config.dataset import Dataset
from attnlab.config.trainer import Trainer
from attnlab.data.codec import Item
from attnlab.data.loader import BatchOrder, Loader, UnitOrder, eval_loader
from attnlab.data.prepared import Prepared, Split
from attnlab.data.supervision import supervised


class PreparedData(pl.LightningDataModule):
    """Loads the splits that a run asks for and hands out batches."""

    def __init__(self, prepared: Prepared, dataset: Dataset, settings: Trainer, seed: int) -> None:
        super().__init__()
        self.prepared, self.dataset, self.settings, self.seed = prepared, dataset, settings, seed
        self.items: dict[str, list[Item]] = {}

    def split(self, split: Split) -> list[Item]:
        """The items of a split, encoded when first asked for."""
        if split not in self.items:
            examples = self.prepared.examples(split)
            if split == "train":
                examples = supervised(examples, self.dataset.supervision, self.dataset.targets)
            codec = self.prepared.codec
            self.items[split] = [codec.encode(example, i) for i, example in enumerate(examples)]
        return self.items[split]

    def total_steps(self) -> int:
        """Optimizer steps of the whole training."""
        settings = self.settings
        world = settings.devices * settings.num_nodes
        an_epoch = -(-len(self._order(self._train_items(), 0, world)) // settings.accumulate)
        limits = [settings.max_steps, settings.max_epochs * an_epoch]
        return min(limit for limit in limits if limit > 0)

    def train_dataloader(self) -> Loader:
        items = self._train_items()
        order = self._order(items, *self._place())
        workers = self.settings.batches.workers
        return Loader(items, order, workers, torch.cuda.is_available())

    def _train_items(self) -> list[Item]:
        items, settings = self.split("train"), self.settings
        few = settings.overfit_batches * settings.batches.size
        return items[:few] if few else items

    def _order(self, items: list[Item], rank: int, world: int) -> BatchOrder:
        batches = self.settings.batches
        if batches.units is None:
            lengths = [item.keys for item in items]
            return BatchOrder(lengths, batches.size, batches.bucket, self.seed, rank, world)
        lengths = [max(item.keys, len(item.answer)) for item in items]
        return UnitOrder(lengths, batches.units, self.seed, rank, world)

    def val_dataloader(self) -> DataLoader[Any]:
        return self._eval_loader("val")

    def test_dataloader(self) -> DataLoader[Any]:
        return self._eval_loader("test")

    def _eval_loader(self, split: Split) -> DataLoader[Any]:
        rank, world = self._place()
        items, size = self.split(split)[rank::world], self.settings.batches.eval_size
        return eval_loader(items, size, torch.cuda.is_available())

    def _place(self) -> tuple[int, int]:
        """The rank of this process and how many there are; one where no trainer is attached."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
