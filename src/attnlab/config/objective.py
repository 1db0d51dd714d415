"""What training minimises besides the task's own loss. `conf/objective/` holds the defaults."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from attnlab.config.section import Section, Variant

OBJECTIVES = "attnlab.objectives.attention"
REGULARISERS = "attnlab.objectives.regularisers"
SCHEDULES = "attnlab.objectives.schedules"


class Schedule(Variant, slot="schedule"):
    """How the weight of an objective changes with the training step."""


class Constant(Schedule, kind="constant", target=f"{SCHEDULES}:Constant"):
    """The same weight throughout."""


class Warmup(Schedule, kind="warmup", target=f"{SCHEDULES}:Warmup"):
    """From nothing to the full weight, in a straight line."""

    steps: int = Field(gt=0, description="training steps until the full weight is reached")


class Decay(Schedule, kind="decay", target=f"{SCHEDULES}:Decay"):
    """The full weight first, then in a straight line to a part of it."""

    start: int = Field(ge=0, description="training step at which the weight begins to fall")
    steps: int = Field(gt=0, description="training steps that the fall takes")
    final: float = Field(ge=0, le=1, description="part of the weight that is left at the end")


class AttentionObjective(Variant, slot="attention_objective"):
    """A loss on a map. Which map, how much, and when; the kind says which loss."""

    on: str = Field(
        min_length=1,
        description="the map: decoder.cross.-1, decoder.cross.-2/head=0, encoder.self.3/heads=mean;"
        " or activations, how strong the states are that are looked at",
    )
    weight: float = Field(ge=0, description="factor beside the task's loss")
    schedule: Schedule = Field(description="how the weight changes with the training step")


class CrossEntropy(AttentionObjective, kind="cross_entropy", target=f"{OBJECTIVES}:CrossEntropy"):
    """-(1/N) sum t log p over the N annotated rows."""


class KL(AttentionObjective, kind="kl", target=f"{OBJECTIVES}:KL"):
    """KL(gold || map): cross-entropy less the entropy of the gold map."""


class MSE(AttentionObjective, kind="mse", target=f"{OBJECTIVES}:MSE"):
    """Squared difference, summed over the keys."""


class SoftIoU(AttentionObjective, kind="soft_iou", target=f"{OBJECTIVES}:SoftIoU"):
    """One less the overlap over the union of the two distributions."""


class SurePossible(AttentionObjective, kind="sure_possible", target=f"{OBJECTIVES}:SurePossible"):
    """Sure links draw the mass, possible links may hold some of it."""

    sure: float = Field(
        ge=0, le=1, description="share of the sure links' cross-entropy; the rest is possible mass"
    )


class Distillation(AttentionObjective, kind="distillation", target=f"{OBJECTIVES}:Distillation"):
    """KL from a teacher's map at a temperature."""

    temperature: float = Field(gt=0, description="above 1 the teacher's small weights count more")


class Relations(AttentionObjective, kind="relations", target=f"{OBJECTIVES}:Relations"):
    """KL between how alike the rows of the teacher's map are and how alike the student's are."""

    temperature: float = Field(gt=0, description="divides the similarities before their softmax")


class Transfer(AttentionObjective, kind="transfer", target=f"{OBJECTIVES}:Transfer"):
    """Distance between both maps, each brought to length one (Zagoruyko & Komodakis 2017)."""


class Guided(AttentionObjective, kind="guided", target=f"{REGULARISERS}:Guided"):
    """Keeps mass near the diagonal; needs no gold."""

    width: float = Field(gt=0, description="width g of the free band, as a share of the length")


class Entropy(AttentionObjective, kind="entropy", target=f"{REGULARISERS}:Entropy"):
    """Entropy of the map; needs no gold."""

    seek: Literal["focused", "spread"] = Field(description="lower the entropy, or raise it")


class Sparsity(AttentionObjective, kind="sparsity", target=f"{REGULARISERS}:Sparsity"):
    """Few and contiguous keys; needs no gold."""

    power: float = Field(
        gt=0, le=1, description="exponent of the weights; 1 only for weights that need not sum to 1"
    )
    continuity: float = Field(ge=0, description="factor of the differences between neighbours")


class ObjectiveConfig(Section):
    """The attention's part of the loss; the task's own part belongs to the task."""

    name: str = Field(min_length=1, description="shown in run names and tables")
    teacher: str | None = Field(
        description="folder of a trained run whose maps, of the same data, are learned from in "
        "place of gold; null is none"
    )
    attention: AttentionObjective | None = Field(description="the loss on a map; null is none")
    extra: dict[str, AttentionObjective] = Field(description="further losses on maps, by name")

    @field_validator("attention", mode="before")
    @classmethod
    def _none_to_set(cls, given: Any) -> Any:
        """What an experiment sets of its loss is nothing where `objective=unsupervised`."""
        if not isinstance(given, dict) or "kind" in given:
            return given
        return None if set(given) <= set(AttentionObjective.model_fields) else given
