"""What is asked of the model. `conf/task/*.yaml` holds the default values."""

from __future__ import annotations

from pydantic import Field

from attnlab.config.section import Variant


class Task(Variant, slot="task"):
    """Translation, recognition, captioning are all `generate`: the task is the form of answer."""

    name: str = Field(description="shown in run names and tables")
    map: str = Field(
        min_length=1, description="the map that is judged against gold, and shown: a site's name"
    )
    label_smoothing: float = Field(ge=0, lt=1, description="share of target mass spread evenly")


class Generate(Task, kind="generate", target="attnlab.learning.tasks:Generate"):
    """The answer is a sequence of units, produced one after the other."""

    max_length: int = Field(gt=0, description="units generated at most")


class Classify(Task, kind="classify", target="attnlab.learning.tasks:Classify"):
    """The answer is one of the labels seen in training."""
