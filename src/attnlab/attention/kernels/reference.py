"""The reference: every mechanism by its formula, with the logits in memory."""

from __future__ import annotations

from torch import Tensor

from attnlab.attention.call import Call
from attnlab.attention.parts import wide


class Reference:
    """Serves everything, and is what the other kernels are tested against."""

    fused = False

    def can(self, call: Call) -> bool:
        """Whether this call's mask and sizes are within reach, the mechanism being so."""
        return True

    def logits(self, call: Call) -> Tensor:
        return call.attention.score(wide(call.query), wide(call.spread_key))

    def context(self, call: Call) -> Tensor:
        raise NotImplementedError("the reference makes weights first, and sums values by them")
