"""The one LightningModule, the one LightningDataModule, and what keeps a run safe."""
