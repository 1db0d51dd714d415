"""A map that models have without attention: the strength of the attended states."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from attnlab.attention.probes import Tap
from attnlab.models.memory import Memory
from attnlab.models.reader import Reader, Reading

SELECTOR = "activations"
MASKED = -1e9  # logarithm of the weight of a masked key


class ActivationTap:
    """The sum of squares of each state, as a share of all (Zagoruyko & Komodakis 2017).

    It is used like a `Tap`.
    """

    role = "pooling"

    def __init__(self, model: nn.Module) -> None:
        assert isinstance(model.reader, Reader)
        self.reader = model.reader
        self.memory: Memory | None = None
        self.hook: RemovableHandle | None = None

    def __enter__(self) -> ActivationTap:
        self.hook = self.reader.register_forward_hook(self._keep)
        return self

    def __exit__(self, *error: object) -> None:
        assert self.hook is not None
        self.hook.remove()

    def _keep(self, reader: nn.Module, inputs: object, reading: Reading) -> None:
        self.memory = reading.memory

    def weights(self) -> Tensor:
        """batch x 1 x 1 x keys."""
        return self.log_weights().exp()

    def log_weights(self) -> Tensor:
        """The logarithm of `weights`, finite everywhere."""
        assert self.memory is not None, "nothing was read while tapped"
        values, mask = self.memory.values.float(), self.memory.mask
        strength = values.square().sum(-1).clamp_min(torch.finfo(values.dtype).tiny)
        shares = strength.log().masked_fill(~mask, MASKED).log_softmax(-1)
        return shares.clamp_min(MASKED)[:, None, None]


def tapped(model: nn.Module, selector: str) -> Tap | ActivationTap:
    """The tap of the map that a selector names."""
    return ActivationTap(model) if selector == SELECTOR else Tap(model, selector)
