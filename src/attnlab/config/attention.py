"""What a mechanism is made of: score x normalizer x structure x position x heads.

`conf/attention/*.yaml` names mechanisms, `conf/attention/<part>/*.yaml` holds the default values
of each part. The kinds stand beside what implements them (`attnlab.attention.scores_config`, say).
What goes together is checked in `combinations`, by the form of each part.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from pydantic import Field

from attnlab.config import combinations
from attnlab.config.section import Section, Variant
from attnlab.errors import Mistake


class Part(Variant):
    """A part of a mechanism. What its kinds go with follows from these facts about them.

    A plugin's class states them itself, as attributes of the same names.
    """

    facts = ("form", "one_axis", "from_row_start")
    form: ClassVar[str] = "other"  # what the rules of `combinations` and the kernels go by
    one_axis: ClassVar[bool] = False  # compares positions, so queries and keys need one axis
    from_row_start: ClassVar[bool] = False  # positions count from the start of a row
    neutral: ClassVar[str] = ""  # the kind that takes the place of those that need one axis


class Score(Part, slot="score"):
    """How well a key matches a query."""


class Normalizer(Part, slot="normalizer"):
    """How logits become weights."""


class Structure(Part, slot="structure"):
    """Which keys a query may attend to."""

    neutral = "global"


class Position(Part, slot="position"):
    """How the positions of queries and keys enter."""

    form = "bias"  # plugins: something added to logits
    neutral = "none"


class Heads(Part, slot="heads"):
    """How many maps, and what they share."""

    form = "split"


class Kernel(Variant, slot="kernel"):
    """One implementation, and which mechanisms it can serve."""

    serves: ClassVar[Mapping[str, frozenset[str]]] = {}  # part -> forms; all of a part not named
    devices: ClassVar[frozenset[str]] = frozenset({"cpu", "cuda"})
    drops_weights: ClassVar[bool] = True  # can drop weights while training

    @classmethod
    def refuses(cls, config: AttentionConfig) -> Iterator[str]:
        """The parts of a mechanism that this kernel cannot serve."""
        for part, forms in cls.serves.items():
            if getattr(config, part).form not in forms:
                yield part


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
        kernel = combinations.kernels().get(self.kernel)
        device = {"gpu": "cuda"}.get(config.trainer.accelerator, config.trainer.accelerator)
        if kernel is not None and device not in {"auto", *kernel.devices}:
            problem = f"kernel '{self.kernel}' runs on {' and '.join(sorted(kernel.devices))} alone"
            hint = f"with trainer.accelerator={config.trainer.accelerator} try: kernel=auto"
            yield Mistake(".kernel", problem, hint)
