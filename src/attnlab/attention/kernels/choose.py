"""Which kernel serves a call: what the table says it can, and what was measured to be faster."""

from __future__ import annotations

import functools
import math

import torch

from attnlab.attention.call import Call, Kernel
from attnlab.attention.kernels import measured
from attnlab.config.attention import AttentionConfig
from attnlab.config.combinations import kernels, kernels_for
from attnlab.errors import UserError

# Of the reference's time. Timed alone, its weights stay in the cache; in a step that projects and
# normalises as well they do not, so it has to be faster by more than that to be taken.
AS_FAST = 1.25


@functools.cache
def implementation(name: str) -> Kernel:
    """The kernel of this name."""
    return kernels()[name].model_construct(kind=name).build()


class KernelChoice:
    """The kernels that can serve one mechanism, and the choice among them call by call."""

    def __init__(self, config: AttentionConfig) -> None:
        names = kernels_for(config)
        self.names = [name for name in reversed(names) if name != "reference"]
        # a kernel for what one role leaves out (landmarks, say) is not meant for that role
        self.forced = config.kernel if config.kernel in names else None

    def choose(self, call: Call) -> Kernel:
        """The forced kernel, or the one expected to be fastest."""
        if self.forced is not None:
            return implementation(self.forced)
        for name in self.names:
            kernel = implementation(name)
            if _obstacle(name, call) is None and kernel.worthwhile(call) and _faster(name, call):
                return kernel
        return implementation("reference")

    def check(self, call: Call, site: str) -> None:
        """Raise `UserError` where a kernel was forced that cannot serve the call."""
        if self.forced is None:
            return
        obstacle = _obstacle(self.forced, call)
        if obstacle is not None:
            others = [name for name in ("auto", "reference") if name != self.forced]
            raise UserError(
                f"attention.kernel={self.forced} cannot serve {site or 'this call'}: {obstacle}; "
                f"allowed: {', '.join(others)}"
            )


def _obstacle(name: str, call: Call) -> str | None:
    """Why a kernel cannot serve a call, as its device or its mask stand."""
    schema, device = kernels()[name], call.query.device.type
    if device not in schema.devices:
        return f"it runs on {' and '.join(sorted(schema.devices))}, not on {device}"
    if call.dropout and not schema.drops_weights:
        return "it drops no weights"
    return implementation(name).obstacle(call)


def _faster(name: str, call: Call) -> bool:
    """What was measured against the reference; one that was not measured counts as faster."""
    training = "train" if torch.is_grad_enabled() else "infer"
    masked = "masked" if call.mask.forbids else "plain"
    length = math.sqrt(call.queries * call.keys)
    tokens = len(call.query) * call.queries
    curve = measured.curve(call.query.device.type, name, f"{training}-{masked}", tokens)
    return curve is None or curve.ratio(length) <= AS_FAST
