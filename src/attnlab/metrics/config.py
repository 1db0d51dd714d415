"""The kinds of figures of a map, and of rules that make links of weights."""

from __future__ import annotations

from pydantic import Field, create_model

from attnlab.config.evaluation import LinkRule, MapFigure

IMPLEMENTATIONS = {
    "aer": "links:AlignmentErrorRate",
    "token_f1": "rationale:TokenF1",
    "iou_f1": "rationale:IouF1",
    "average_precision": "rationale:AveragePrecision",
    "auprc": "rationale:Auprc",
    "mass_on_gold": "agreement:MassOnGold",
    "energy_pointing": "agreement:EnergyPointing",
    "pointing_accuracy": "agreement:PointingGame",
    "kl_divergence": "agreement:KullbackLeibler",
    "js_divergence": "agreement:JensenShannon",
    "cc": "saliency:CorrelationCoefficient",
    "similarity": "saliency:Similarity",
    "similarity_minmax": "saliency:StretchedSimilarity",
    "nss": "saliency:Nss",
    "auc_judd": "saliency:AucJudd",
    "information_gain": "saliency:InformationGain",
    "mae": "agreement:MeanAbsoluteError",
    "pearson": "agreement:Pearson",
    "spearman": "agreement:Spearman",
    "kendall": "agreement:Kendall",
    "boundary_f1": "path:BoundaryF1",
    "monotonicity": "path:Monotonicity",
}
for _kind, _class in IMPLEMENTATIONS.items():
    create_model(
        _kind,
        __base__=MapFigure,
        __cls_kwargs__={"kind": _kind, "target": f"attnlab.metrics.{_class}"},
    )


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
