"""Which kernel serves a call: what the table says it can, and what was measured to be faster."""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

from attnlab.attention.call import Call
from attnlab.attention.kernels import additive, flex, linear, measured, nystrom, reference, sdpa
from attnlab.config.attention import AttentionConfig
from attnlab.config.combinations import KERNELS, kernels_for

# Of the reference's time. Timed alone, its weights stay in the cache; in a step that projects and
# normalises as well they do not, so it has to be faster by more than that to be taken.
AS_FAST = 1.25


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
    "additive": additive.AdditiveKernel(),
    "sdpa": sdpa.Sdpa(),
    "flex": flex.Flex(),
    "linear": linear.LinearKernel(),
    "nystrom": nystrom.NystromKernel(),
}


class KernelChoice:
    """The kernels that can serve one mechanism, and the choice among them call by call."""

    def __init__(self, config: AttentionConfig) -> None:
        self.names = [name for name in reversed(kernels_for(config)) if name != "reference"]
        # a kernel for what one role leaves out (landmarks, say) is not meant for that role
        self.forced = config.kernel if config.kernel in kernels_for(config) else None

    def route(self, call: Call) -> KernelRoute:
        """The forced kernel, or the one expected to be fastest."""
        if self.forced is not None:
            return ROUTES[self.forced]
        for name in self.names:
            if _allowed(name, call) and _faster(name, call):
                return ROUTES[name]
        return ROUTES["reference"]


def _allowed(name: str, call: Call) -> bool:
    kernel, attention = KERNELS[name], call.attention
    dropping = attention.training and attention.dropout > 0
    if dropping and not kernel.drops_weights and call.query.device.type == "cpu":
        return False  # on CUDA the fused kernels drop weights at no cost
    return call.query.device.type in kernel.devices and ROUTES[name].can(call)


def _faster(name: str, call: Call) -> bool:
    """What was measured against the reference; a kernel that was not is taken to be faster."""
    training = "train" if torch.is_grad_enabled() else "infer"
    masked = "plain" if call.allowed_is_none else "masked"
    length = math.sqrt(call.queries * call.keys)
    tokens = len(call.query) * call.queries
    curve = measured.curve(call.query.device.type, name, f"{training}-{masked}", tokens)
    return curve is None or curve.ratio(length) <= AS_FAST
