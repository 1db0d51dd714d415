"""Which figures of a map are computed, and what they need to know. `conf/metrics/` has defaults."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field

from attnlab.config.section import Section, Variant

Figure = Literal[
    "aer",
    "token_f1",
    "iou_f1",
    "average_precision",
    "auprc",
    "mass_on_gold",
    "energy_pointing",
    "pointing_accuracy",
    "kl_divergence",
    "js_divergence",
    "cc",
    "similarity",
    "similarity_minmax",
    "nss",
    "auc_judd",
    "information_gain",
    "mae",
    "pearson",
    "spearman",
    "kendall",
    "boundary_f1",
    "monotonicity",
]
FIGURES: tuple[str, ...] = get_args(Figure)


class LinkRule(Variant, slot="link_rule"):
    """How a map becomes marks, for the figures that count marks."""


class Argmax(LinkRule, kind="argmax", target="attnlab.metrics.links:Argmax"):
    """The greatest weight of each row."""

    minimum: float = Field(ge=0, le=1, description="a row whose greatest weight is less has none")


class Above(LinkRule, kind="above", target="attnlab.metrics.links:Above"):
    """Every weight above a multiple of the uniform one."""

    times: float = Field(gt=0, description="how many times the uniform weight")


class Top(LinkRule, kind="top", target="attnlab.metrics.links:Top"):
    """The greatest weights, a share of the keys."""

    share: float = Field(gt=0, le=1, description="share of the keys; gold's mean share is usual")


class Path(LinkRule, kind="path", target="attnlab.metrics.links:Path"):
    """One stretch of keys for each row, later ones for later rows: words in a sound."""

    level: float = Field(
        gt=0, description="weight, as a share of the row's usual one, from which keys belong to it"
    )


class MapMetrics(Section):
    """The figures that tell how right a map is."""

    name: str = Field(min_length=1, description="shown in tables")
    figures: list[Figure] = Field(description="which figures")
    links: LinkRule = Field(description="how weights become marks: aer, token_f1, iou_f1, ...")
    iou: float = Field(ge=0.5, le=1, description="overlap from which a stretch counts as found")
    tolerance: int = Field(ge=0, description="keys by which a boundary may be off")
