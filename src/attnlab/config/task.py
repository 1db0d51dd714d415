"""What is asked of the model. `conf/task/*.yaml` holds the default values."""

from __future__ import annotations

from pydantic import Field

from attnlab.config.section import Variant

TASKS = "attnlab.learning.tasks"


class Task(Variant, slot="task"):
    """Translation, recognition, captioning are all `generate`: the task is the form of answer."""

    name: str = Field(description="shown in run names and tables")
    map: str = Field(
        min_length=1, description="the map that is judged against gold, and shown: a site's name"
    )
    label_smoothing: float = Field(ge=0, lt=1, description="share of target mass spread evenly")


class Generate(Task, kind="generate", target=f"{TASKS}:Generate"):
    """The answer is a sequence of units, produced one after the other."""

    max_length: int = Field(gt=0, description="units generated at most")


class Classify(Task, kind="classify", target=f"{TASKS}:Classify"):
    """The answer is one of the labels seen in training."""


class Tag(Task, kind="tag", target=f"{TASKS}:Tag"):
    """The answer is a tag for each unit of the input."""


class Rank(Task, kind="rank", target=f"{TASKS}:Rank"):
    """The answer is an item, looked for among all there are."""


class Attend(Task, kind="attend", target=f"{TASKS}:Attend"):
    """The answer is the map itself: gaze, saliency."""


class Locate(Task, kind="locate", target=f"{TASKS}:Locate"):
    """The answer is boxes with their classes, in an order that gold gives."""

    box_weight: float = Field(ge=0, description="weight of the boxes' loss beside the classes'")


class Segment(Task, kind="segment", target=f"{TASKS}:Segment"):
    """The answer is a class for each pixel."""
