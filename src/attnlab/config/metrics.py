"""Which figures of a map are computed, and their settings. `conf/metrics/` has defaults."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, SerializeAsAny, create_model

from attnlab.config.section import Section, Variant


class MapFigure(Variant, slot="map_figure"):
    """A figure that tells how right a map is; in YAML its name, or its name and own settings.

    Its class is given those of `links`, `iou`, `tolerance` and `baseline` (the position prior) that
    its constructor names.
    """


IMPLEMENTATIONS = {
    "aer": "alignment:AlignmentErrorRate",
    "token_f1": "rationale:TokenF1",
    "iou_f1": "rationale:IouF1",
    "average_precision": "rationale:AveragePrecision",
    "auprc": "rationale:Auprc",
    "mass_on_gold": "mass:MassOnGold",
    "energy_pointing": "mass:EnergyPointing",
    "pointing_accuracy": "mass:PointingGame",
    "kl_divergence": "divergence:KullbackLeibler",
    "js_divergence": "divergence:JensenShannon",
    "cc": "saliency:CorrelationCoefficient",
    "similarity": "saliency:Similarity",
    "similarity_minmax": "saliency:StretchedSimilarity",
    "nss": "saliency:Nss",
    "auc_judd": "saliency:AucJudd",
    "information_gain": "saliency:InformationGain",
    "mae": "correlation:MeanAbsoluteError",
    "pearson": "correlation:Pearson",
    "spearman": "correlation:Spearman",
    "kendall": "correlation:Kendall",
    "boundary_f1": "path:BoundaryF1",
    "monotonicity": "path:Monotonicity",
}
for _kind, _class in IMPLEMENTATIONS.items():
    create_model(
        _kind,
        __base__=MapFigure,
        __cls_kwargs__={"kind": _kind, "target": f"attnlab.metrics.{_class}"},
    )


def _named(value: Any) -> Any:
    """A bare name stands for a figure without settings of its own."""
    return {"kind": value} if isinstance(value, str) else value


class LinkRule(Variant, slot="link_rule"):
    """How weights become links, for the figures that count links."""


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
    figures: list[Annotated[SerializeAsAny[MapFigure], BeforeValidator(_named)]] = Field(
        description="which figures, by name"
    )
    links: LinkRule = Field(description="how weights become links: aer, token_f1, iou_f1, ...")
    iou: float = Field(ge=0.5, le=1, description="overlap from which a stretch counts as found")
    tolerance: int = Field(ge=0, description="keys by which a boundary may be off")
