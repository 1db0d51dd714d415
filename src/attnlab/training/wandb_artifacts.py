"""Where a model comes from, in W&B: the data that a run used, and the checkpoint that it made.

The data themselves stay where they are: what is logged is their hash and how they were made.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import wandb

from attnlab.compat import wandb_use_artifact


def use_data(run: wandb.Run, about: dict[str, Any]) -> None:
    """The run's data as its input, by their hash and the settings that make them."""
    settings, digest = about["config"]["dataset"], about["data_digest"]
    made = {"digest": digest, "settings": settings}
    artifact = wandb.Artifact(f"dataset-{settings['name']}", type="dataset", metadata=made)
    with artifact.new_file("dataset.json") as file:
        json.dump(made, file, indent=2, sort_keys=True, default=str)
    wandb_use_artifact(run, artifact, aliases=[digest[:12]])


def make_model(run: wandb.Run, checkpoint: Path, figures: dict[str, Any]) -> None:
    """The best checkpoint as the run's output, with the figures it has on the test split."""
    if not checkpoint.is_file():
        return
    metadata = {group: figures[group] for group in ("answer", "attention", "trust")}
    artifact = wandb.Artifact(f"model-{run.id}", type="model", metadata=metadata)
    artifact.add_file(str(checkpoint))
    run.log_artifact(artifact, aliases=["best"])
