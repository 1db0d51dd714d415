"""What an explanation will cost, said before it starts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from attnlab.explain.methods.gradients import differentiable
from attnlab.explain.subject import Subject

MIB = 2**20


def bytes_per_example(subject: Subject) -> int:
    """What a forward pass of one example keeps for its gradients, the model itself not counted.

    Measured on the longest example, with every unit of the input under observation.
    """
    longest = subject.keys.sum(1).argmax()
    one = subject.select(longest[None])
    parameters = {p.untyped_storage().data_ptr() for p in subject.model.parameters()}
    kept: dict[int, int] = {}

    def count(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    def same(tensor: Tensor) -> Tensor:
        return tensor

    with differentiable(), torch.autograd.graph.saved_tensors_hooks(count, same):
        one.evidence(one.embedded.values.detach().requires_grad_())
    return sum(kept.values())


def passes(methods: Sequence[str], keys: int, samples: int, steps: int) -> int:
    """Forward passes for one example with so many units."""
    known = {
        "integrated_gradients": steps,
        "leave_one_out": keys + 1,
        "occlusion": keys + 1,
        "lime": samples,
        "shap": samples + 2,
    }
    return sum(known.get(name, 1) for name in methods)
