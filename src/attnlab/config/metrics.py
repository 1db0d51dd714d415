"""Which figures of a map are computed, and their slots. `conf/metrics/` has defaults."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, SerializeAsAny

from attnlab.config.section import Section, Variant


class MapFigure(Variant, slot="map_figure"):
    """A figure that tells how right a map is; in YAML its name, or its name and own settings.

    Its class is given those of `links`, `iou`, `tolerance` and `baseline` (the position prior) that
    its constructor names.
    """


def _named(value: Any) -> Any:
    """A bare name stands for a figure without settings of its own."""
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
