"""How a trained model is evaluated and explained: `conf/metrics/`, `conf/explain/`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny

from attnlab.config.section import Section, Variant

Combine = Literal["probabilities", "logits", "votes"]  # how several models answer as one

Method = Literal[
    "attention",
    "rollout",
    "flow",
    "chefer",
    "gmar",
    "gradient_input",
    "integrated_gradients",
    "leave_one_out",
    "occlusion",
    "lime",
    "shap",
]


class MapFigure(Variant, slot="map_figure"):
    """A metric of a map against gold; in YAML its name, or its name and its own settings.

    Its class is given those of `links`, `iou`, `tolerance` and `baseline` (the position prior) that
    its constructor names.
    """


def _named(value: Any) -> Any:
    """Expand a bare name to a metric without settings of its own."""
    return {"kind": value} if isinstance(value, str) else value


class LinkRule(Variant, slot="link_rule"):
    """How weights become links, for the figures that count links."""


class MapMetrics(Section):
    """The figures that tell how right a map is."""

    name: str = Field(min_length=1, description="shown in tables")
    figures: list[
        Annotated[
            SerializeAsAny[MapFigure],
            BeforeValidator(_named, json_schema_input_type=str | MapFigure),
        ]
    ] = Field(description="which figures, by name")
    links: LinkRule = Field(description="how weights become links: aer, token_f1, iou_f1, ...")
    iou: float = Field(ge=0.5, le=1, description="overlap from which a stretch counts as found")
    tolerance: int = Field(ge=0, description="keys by which a boundary may be off")


class Adversary(Section):
    """Maps that are as far from the model's as can be while its answers stay (Jain & Wallace)."""

    steps: int = Field(gt=0, description="steps of the search for each example")
    rate: float = Field(gt=0, description="step size of the search (Adam on the map's logits)")
    epsilon: float = Field(
        gt=0, lt=1, description="answers that differ by less in total variation stay as they were"
    )


class AdversarialTraining(Section):
    """A second model with the same answers and other maps (Wiegreffe & Pinter 2019)."""

    steps: int = Field(ge=0, description="training steps, which take minutes; 0 is none")
    rate: float = Field(gt=0, description="learning rate")
    divergence: float = Field(ge=0, description="weight of other maps beside equal answers")


class Trust(Section):
    """The tests of whether the map decides."""

    permutations: int = Field(gt=0, description="orders drawn for each map")
    fractions: list[float] = Field(
        min_length=1, description="shares of the units that are erased, or kept, in turn"
    )
    decisions: int = Field(
        gt=0, description="decisions of each example for which units are erased, drawn at random"
    )
    limits: int = Field(
        gt=0, description="examples whose best and worst order are searched, to normalise by them"
    )
    beam: int = Field(gt=0, description="orders followed at once in that search")
    adversary: Adversary
    training: AdversarialTraining


class Explain(Section):
    """Explanations of single answers, and the tests of the maps."""

    name: str = Field(min_length=1, description="shown in tables")
    examples: int = Field(gt=0, description="examples of the test split, the first ones")
    methods: list[Method] = Field(min_length=1, description="which explanations")
    memory: int = Field(gt=0, description="MiB that the variants of examples may take together")
    samples: int = Field(gt=1, description="LIME, SHAP: variants of each example")
    steps: int = Field(gt=0, description="integrated gradients: steps from the empty input")
    reach: int = Field(gt=0, description="occlusion: neighbours erased along, each way")
    trust: Trust
