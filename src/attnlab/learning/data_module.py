"""`PreparedData`: the one DataModule, over whatever `prepare` wrote."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader

from attnlab.config.dataset import Dataset
from attnlab.config.trainer import Trainer
from attnlab.data.codec import Item
from attnlab.data.loader import BatchOrder, Loader, eval_loader
from attnlab.data.prepared import Prepared, Split
from attnlab.data.supervision import withhold


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
                examples = withhold(examples, self.dataset.supervision)
            codec = self.prepared.codec
            self.items[split] = [codec.encode(example, i) for i, example in enumerate(examples)]
        return self.items[split]

    def train_dataloader(self) -> Loader:
        items, batches = self.split("train"), self.settings.batches
        if self.settings.overfit_batches:
            items = items[: self.settings.overfit_batches * batches.size]
        looks_at = self.prepared.codec.looks_at
        rank, world = self._place()
        lengths = [len(item.inputs[looks_at]) for item in items]
        order = BatchOrder(lengths, batches.size, batches.bucket, self.seed, rank, world)
        return Loader(items, order, looks_at, batches.workers, torch.cuda.is_available())

    def val_dataloader(self) -> DataLoader[Any]:
        return self._eval_loader("val")

    def test_dataloader(self) -> DataLoader[Any]:
        return self._eval_loader("test")

    def _eval_loader(self, split: Split) -> DataLoader[Any]:
        rank, world = self._place()
        items, size = self.split(split)[rank::world], self.settings.batches.eval_size
        return eval_loader(items, size, self.prepared.codec.looks_at, torch.cuda.is_available())

    def _place(self) -> tuple[int, int]:
        """The rank of this process and how many there are; one where no trainer is attached."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
