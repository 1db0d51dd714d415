"""Which kernel serves a call: what the table says it can, and what was measured to be faster."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from attnlab.attention.call import Call
from attnlab.attention.kernels import linear, nystrom, reference, sdpa
from attnlab.config.attention import AttentionConfig
from attnlab.config.combinations import KERNELS, kernels_for


class KernelRoute(Protocol):
    """One implementation. `fused`: it makes the context without making the weights."""

    @property
    def fused(self) -> bool: ...

    def can(self, call: Call) -> bool:
        """Whether this call's mask and sizes are within reach, the mechanism being so."""
        ...

    def logits(self, call: Call) -> Tensor:
        """batch x maps x queries x keys, without positions, masks and mixing; fp32 or wider."""
        ...

    def context(self, call: Call) -> Tensor:
        """batch x heads x queries x width; asked of fused kernels only."""
        ...


ROUTES: dict[str, KernelRoute] = {
    "reference": reference.Reference(),
    "sdpa": sdpa.Sdpa(),
    "linear": linear.LinearKernel(),
    "nystrom": nystrom.NystromKernel(),
}


class KernelChoice:
    """The kernels that can serve one mechanism, and the choice among them call by call."""

    def __init__(self, config: AttentionConfig) -> None:
        self.names = [n for n in kernels_for(config) if n in ROUTES]
        self.forced = None if config.kernel == "auto" else config.kernel

    def route(self, call: Call) -> KernelRoute:
        """The forced kernel, or the one expected to be fastest."""
        if self.forced is not None:
            return ROUTES[self.forced]
        if len(self.names) == 1:
            return ROUTES["reference"]
        device = call.query.device.type
        dropping = call.attention.training and call.attention.dropout > 0
        for name in reversed(self.names):
            kernel = KERNELS[name]
            drops = kernel.drops_weights or not dropping
            if device in kernel.devices and drops and ROUTES[name].can(call):
                return ROUTES[name]
        return ROUTES["reference"]
