"""The kinds of terms on maps: beside gold or a teacher's map, and those that need neither."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from attnlab.config.objective import GoldTerm, MapTerm

MAPS = "attnlab.objectives.attention"
REGULARISERS = "attnlab.objectives.regularisers"


class CrossEntropy(GoldTerm, kind="cross_entropy", target=f"{MAPS}:CrossEntropy"):
    """-(1/N) sum t log p over the N annotated rows."""


class KL(GoldTerm, kind="kl", target=f"{MAPS}:KL"):
    """KL(gold || map): cross-entropy less the entropy of the gold map."""


class MSE(GoldTerm, kind="mse", target=f"{MAPS}:MSE"):
    """Squared difference, summed over the keys."""


class SoftIoU(GoldTerm, kind="soft_iou", target=f"{MAPS}:SoftIoU"):
    """One less the overlap over the union of the two distributions."""


class SurePossible(GoldTerm, kind="sure_possible", target=f"{MAPS}:SurePossible"):
    """Sure links draw the mass, possible links may hold some of it."""

    sure: float = Field(
        ge=0, le=1, description="share of the sure links' cross-entropy; the rest is possible mass"
    )


class Distillation(GoldTerm, kind="distillation", target=f"{MAPS}:Distillation"):
    """KL from a teacher's map at a temperature."""

    temperature: float = Field(gt=0, description="above 1 the teacher's small weights count more")


class Relations(GoldTerm, kind="relations", target=f"{MAPS}:Relations"):
    """KL between how alike the rows of the teacher's map are and how alike the student's are."""

    temperature: float = Field(gt=0, description="divides the similarities before their softmax")


class Transfer(GoldTerm, kind="transfer", target=f"{MAPS}:Transfer"):
    """Distance between both maps, each brought to length one (Zagoruyko & Komodakis 2017)."""


class Guided(MapTerm, kind="guided", target=f"{REGULARISERS}:Guided"):
    """Keeps mass near the diagonal; needs no gold."""

    width: float = Field(gt=0, description="width g of the free band, as a share of the length")


class Entropy(MapTerm, kind="entropy", target=f"{REGULARISERS}:Entropy"):
    """Entropy of the map; needs no gold."""

    seek: Literal["focused", "spread"] = Field(description="lower the entropy, or raise it")


class Sparsity(MapTerm, kind="sparsity", target=f"{REGULARISERS}:Sparsity"):
    """Few and contiguous keys; needs no gold."""

    power: float = Field(
        gt=0, le=1, description="exponent of the weights; 1 only for weights that need not sum to 1"
    )
    continuity: float = Field(ge=0, description="factor of the differences between neighbours")


class Coverage(MapTerm, kind="coverage", target=f"{REGULARISERS}:Coverage"):
    """No key twice (See et al. 2017); needs no gold."""
