"""What a model sees in place of an input that is missing."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from attnlab.data.batch import Padded
from attnlab.models.memory import Memory


class Missing(nn.Module):
    """A learned vector for each input, which is all that there is to see where it is missing.

    Training leaves some inputs out on purpose, so that the vectors are learned and no input is
    relied on alone (modality dropout, Neverova et al. 2016).
    """

    def __init__(self, inputs: int, width: int, dropout: float) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.zeros(inputs, width))
        self.dropout = dropout

    def forward(self, seen: Sequence[Memory], given: Sequence[Padded]) -> list[Memory]:
        """What the embedders saw of each input, and what they were given."""
        there = torch.stack([each.mask.flatten(1).any(1) for each in given])  # inputs x batch
        if self.training and self.dropout:
            there = there & self.kept(there)
        return [
            _in_its_place(memory, vector, ~here)
            for memory, vector, here in zip(seen, self.vectors, there, strict=True)
        ]

    def kept(self, there: Tensor) -> Tensor:
        """Of some examples one input goes, unless it is all there is: inputs x batch."""
        inputs, batch = there.shape
        chosen = torch.randint(inputs, (1, batch), device=there.device)
        goes = (torch.rand(batch, device=there.device) < self.dropout) & (there.sum(0) > 1)
        kept = torch.ones_like(there)
        return kept.scatter(0, chosen, ~goes[None])


def _in_its_place(memory: Memory, vector: Tensor, absent: Tensor) -> Memory:
    """A picture that is missing has as many cells as any, all alike; all else has one state."""
    where = absent[:, None]  # batch x 1
    values = torch.where(where[..., None], vector.to(memory.values), memory.values)
    if memory.grid is not None:
        return memory._replace(values=values)
    first = torch.arange(memory.mask.shape[1], device=absent.device) == 0
    return memory._replace(values=values, mask=torch.where(where, first, memory.mask))
