"""`Missing`: learned states in place of missing inputs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from attnlab.data.batch import Padded
from attnlab.models.memory import Memory


class Missing(nn.Module):
    """Replaces a missing input by a learned vector of its own.

    Training drops some inputs, so that the vectors are learned and the model relies on no input
    alone (modality dropout, Neverova et al. 2016).
    """

    def __init__(self, inputs: int, width: int, dropout: float) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.zeros(inputs, width))
        self.dropout = dropout

    def forward(self, memories: Sequence[Memory], inputs: Sequence[Padded]) -> list[Memory]:
        """The embedders' memories of the inputs, with the missing ones replaced."""
        present = torch.stack([each.mask.flatten(1).any(1) for each in inputs])  # inputs x batch
        if self.training and self.dropout:
            present = present & self.kept(present)
        return [
            _replaced(memory, vector, ~here)
            for memory, vector, here in zip(memories, self.vectors, present, strict=True)
        ]

    def kept(self, present: Tensor) -> Tensor:
        """Drops one input of some examples that have several: inputs x batch, False if dropped."""
        inputs, batch = present.shape
        chosen = torch.randint(inputs, (1, batch), device=present.device)
        drops = (torch.rand(batch, device=present.device) < self.dropout) & (present.sum(0) > 1)
        kept = torch.ones_like(present)
        return kept.scatter(0, chosen, ~drops[None])


def _replaced(memory: Memory, vector: Tensor, absent: Tensor) -> Memory:
    """The vector in place of absent examples: in all cells of a picture, else as one state."""
    where = absent[:, None]  # batch x 1
    values = torch.where(where[..., None], vector.to(memory.values), memory.values)
    if memory.grid is not None:
        return memory._replace(values=values)
    first = torch.arange(memory.mask.shape[1], device=absent.device) == 0
    return memory._replace(values=values, mask=torch.where(where, first, memory.mask))
