"""What a mechanism is made of: score x normalizer x structure x position x heads.

`conf/attention/*.yaml` names mechanisms, `conf/attention/<part>/*.yaml` holds the default values
of each part. What goes together, and which kernel serves it, stands in `combinations`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import Field

from attnlab.config import combinations
from attnlab.config.attention_layout import Heads, Position, Structure
from attnlab.config.attention_weights import Normalizer, Score
from attnlab.config.section import Section
from attnlab.errors import Mistake


class AttentionConfig(Section):
    """One mechanism."""

    name: str = Field(description="shown in run names and tables")
    score: Score
    normalizer: Normalizer
    structure: Structure
    position: Position
    heads: Heads
    kernel: str = Field(
        description="which implementation computes it: auto takes the fastest that can"
    )
    dropout: float = Field(ge=0, lt=1, description="share of weights dropped in training")

    def mistakes(self, config: Any) -> Iterator[Mistake]:
        yield from combinations.mistakes(self, "")
