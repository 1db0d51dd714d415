"""Fronts for pictures: cells in rows and columns, each knowing its place."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attnlab.data.batch import Padded
from attnlab.data.grain import Grain
from attnlab.data.inputs import Picture, light
from attnlab.models.memory import Memory


class Front(nn.Module):
    """Pixels to a map of features, whose places become the cells of a memory."""

    def __init__(self, picture: Picture, width: int, stride: int) -> None:
        super().__init__()
        self.picture, self.stride = picture, stride
        self.grid = Grain((stride, stride)).grid(picture.height, picture.width)
        self.rows = nn.Parameter(0.1 * torch.randn(self.grid[0], 1, width))
        self.columns = nn.Parameter(0.1 * torch.randn(1, self.grid[1], width))

    def features(self, pixels: Tensor) -> Tensor:
        """batch x channels x height x width -> batch x width x rows x columns."""
        raise NotImplementedError

    def forward(self, inputs: Padded) -> Memory:
        rows, columns = self.grid
        missing = (
            columns * self.stride - self.picture.width,
            rows * self.stride - self.picture.height,
        )
        pixels = F.pad(light(inputs.values), (0, missing[0], 0, missing[1]))
        features = self.features(pixels).permute(0, 2, 3, 1)  # batch x rows x columns x width
        states = (features + self.rows + self.columns).flatten(1, 2)  # batch x cells x width
        mask = torch.ones(states.shape[:2], dtype=torch.bool, device=states.device)
        return Memory(states, mask, grid=self.grid)


class Patches(Front):
    """Squares of pixels, each through the same linear layer (Dosovitskiy et al. 2021)."""

    def __init__(self, picture: Picture, width: int, *, size: int) -> None:
        super().__init__(picture, width, size)
        self.linear = nn.Conv2d(picture.channels, width, size, stride=size)

    def features(self, pixels: Tensor) -> Tensor:
        return self.linear(pixels)


class Convolution(Front):
    """Blocks of convolutions, each with a shortcut (He et al. 2016)."""

    def __init__(
        self, picture: Picture, width: int, *, channels: list[int], strides: list[int]
    ) -> None:
        super().__init__(picture, width, math.prod(strides))
        into = [picture.channels, *channels]
        blocks = [
            Block(before, after, factor)
            for before, after, factor in zip(into[:-1], into[1:], strides, strict=True)
        ]
        self.blocks = nn.Sequential(*blocks, nn.Conv2d(channels[-1], width, 1))

    def features(self, pixels: Tensor) -> Tensor:
        return self.blocks(pixels)


class Pyramid(Front):
    """Blocks as before; what the coarse ones see is laid over the finest (Lin et al. 2017)."""

    def __init__(
        self, picture: Picture, width: int, *, channels: list[int], strides: list[int], finest: int
    ) -> None:
        super().__init__(picture, width, finest)
        into = [picture.channels, *channels]
        self.blocks = nn.ModuleList(
            Block(before, after, factor)
            for before, after, factor in zip(into[:-1], into[1:], strides, strict=True)
        )
        scales = [math.prod(strides[: i + 1]) for i in range(len(strides))]
        self.first = scales.index(finest)
        self.across = nn.ModuleList(nn.Conv2d(n, width, 1) for n in channels[self.first :])

    def features(self, pixels: Tensor) -> Tensor:
        states, seen = pixels, []
        for block in self.blocks:
            states = block(states)
            seen.append(states)
        scales = [each(s) for each, s in zip(self.across, seen[self.first :], strict=True)]
        fine, *coarse = scales
        for states in coarse:
            fine = fine + F.interpolate(states, fine.shape[2:], mode="bilinear")
        return fine


class Block(nn.Module):
    """Two convolutions beside a shortcut; the first may halve both sides."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.shortcut = nn.Sequential(
            nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
        )

    def forward(self, features: Tensor) -> Tensor:
        return torch.relu(self.inner(features) + self.shortcut(features))
