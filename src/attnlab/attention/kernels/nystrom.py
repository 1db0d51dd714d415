"""Landmark attention without the map: three thin products from the right."""

from __future__ import annotations

from torch import Tensor

from attnlab.attention.call import Call
from attnlab.attention.kernels.reference import Reference
from attnlab.attention.parts import spread, wide
from attnlab.attention.structures.nystrom import Nystrom


class NystromKernel(Reference):
    """left @ (middle @ (right @ value))."""

    fused = True

    def context(self, call: Call) -> Tensor:
        structure = call.attention.structure
        if call.value is None or not isinstance(structure, Nystrom):
            raise ValueError("the nystrom kernel serves attention/structure=nystrom, with values")
        factors = structure.factors(call)
        value = wide(spread(call.value, call.query.shape[1]))
        context = factors.left @ (factors.middle @ (factors.right @ value))
        return context.to(call.value.dtype)
