"""Where to look in a picture, by the picture alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attnlab.attention.mask import Mask
from attnlab.attention.parts import Score, Shape


class Spatial(Score):
    """A convolution over the mean and maximum of each cell's channels (Woo et al. 2018, "CBAM",
    the spatial half). Cells form `mask.grid`, or one row where the mask names no grid."""

    form = "picture"

    def __init__(self, shape: Shape, *, kernel_size: int) -> None:
        super().__init__(shape)
        self.convolution = nn.Conv2d(2, 1, kernel_size, padding="same", bias=False)

    def prepare_key(self, key: Tensor, mask: Mask) -> Tensor:
        """batch x key_maps x keys x width -> batch x key_maps x keys x 1."""
        if mask.keys is not None:
            key = key.masked_fill(~mask.keys[:, None, :, None], 0)
        pooled = torch.stack([key.mean(-1), key.amax(-1)], dim=2)  # batch x maps x 2 x keys
        picture = pooled.unflatten(-1, mask.grid or (1, key.shape[2])).flatten(0, 1)
        weight = self.convolution.weight.to(key.dtype)
        found = F.conv2d(picture, weight, padding="same")  # batch * maps x 1 x height x width
        return found.flatten(1).unflatten(0, key.shape[:2]).unsqueeze(-1)

    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        return key.transpose(-1, -2).expand(-1, -1, query.shape[2], -1)
