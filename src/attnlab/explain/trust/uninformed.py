"""Maps that are made without the model: from positions, from frequencies, from gold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor

from attnlab.data.codec import Codec
from attnlab.data.example import Example
from attnlab.data.target_batch import TargetBatch
from attnlab.metrics.controls import KeyFrequency, PositionPrior, controls

FITTED_ON = 2000  # examples of the training split


@dataclass(frozen=True)
class UninformedMaps:
    """Control maps, fitted on training examples."""

    prior: PositionPrior | None
    frequency: KeyFrequency | None

    @classmethod
    def fit(cls, examples: Sequence[Example], codec: Codec) -> UninformedMaps:
        """Fit on training examples: a prior if there is gold, frequencies if units are words."""
        some = examples[:FITTED_ON]
        targets = [target for e in some if (target := codec.target(e)) is not None]
        named = _units(some, codec)
        return cls(
            PositionPrior.fit(targets) if targets else None,
            KeyFrequency.fit(named) if named is not None else None,
        )

    def maps(
        self, target: TargetBatch, examples: Sequence[Example], codec: Codec, seed: int
    ) -> dict[str, Tensor]:
        """Controls by name, each batch x gold rows x keys."""
        return controls(target, self.prior, self.frequency, _units(examples, codec), seed)


def _units(examples: Iterable[Example], codec: Codec) -> list[list[str]] | None:
    """The units of the attended input; None where it is no text."""
    if codec.attended not in codec.texts:
        return None
    return [list(e.inputs[codec.attended]) for e in examples]  # type: ignore[arg-type]
