"""Where a model comes from, in W&B: the data that a run used, and the checkpoint that it made.

The data themselves stay where they are: what is logged is their hash and how they were made.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import wandb


def use_data(run: wandb.Run, about: dict[str, Any]) -> None:
    """The run's data as its input, by their hash and the settings that make them."""
    settings, digest = about["config"]["dataset"], about["data_digest"]
    made = {"digest": digest, "settings": settings}
    artifact = wandb.Artifact(f"dataset-{settings['name']}", type="dataset", metadata=made)
    with artifact.new_file("dataset.json") as file:
        json.dump(made, file, indent=2, sort_keys=True, default=str)
    # What `run.use_artifact` does with a new artifact; offline it refuses, though the log can tell.
    run._log_artifact(artifact, aliases=[digest[:12]], is_user_created=True, use_after_commit=True)


def make_model(run: wandb.Run, checkpoint: Path, figures: dict[str, Any]) -> None:
    """The best checkpoint as the run's output, with the figures it has on the test split."""
    if not checkpoint.is_file():
        return
    metadata = {group: figures[group] for group in ("answer", "attention", "trust")}
    artifact = wandb.Artifact(f"model-{run.id}", type="model", metadata=metadata)
    artifact.add_file(str(checkpoint))
    run.log_artifact(artifact, aliases=["best"])
