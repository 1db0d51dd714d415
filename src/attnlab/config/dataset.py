"""The slot for datasets: where examples come from. A reader or a generator is one choice in it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from attnlab.config.augment import Augment
from attnlab.config.section import Variant

Share = Annotated[float, Field(ge=0, le=1)]


class Dataset(Variant, slot="dataset"):
    """What every dataset has, whether it is read from files or made on the spot."""

    name: str = Field(min_length=1, description="what reports and prepared files call it")
    supervision: Share = Field(
        description="share of the training examples that keep their attention target"
    )

    targets: Literal["gold", "permuted"] = Field(
        description="what training learns maps from: each example's own gold, or, as a negative "
        "control, that of another example"
    )

    missing: dict[str, Share] = Field(
        description="input -> share of the examples, in every split, that lack it; "
        "+dataset.missing.image=1 is the control that never sees the picture"
    )

    augment: dict[str, Augment] = Field(
        description="how training changes its pictures or sounds each time they are seen, step by "
        "step; a name -> {kind: affine | mirror | noise | mix | gain, ...}"
    )

    @property
    def may_lack(self) -> set[str]:
        """The inputs that some examples lack."""
        return set(self.missing)

    def settings(self) -> dict[str, Any]:
        """The source makes whole examples: its name and what is withheld are others' business."""
        others = ("name", "supervision", "targets", "missing", "augment")
        return {k: v for k, v in super().settings().items() if k not in others}
