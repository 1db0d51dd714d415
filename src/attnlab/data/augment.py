"""What training does to the pictures and sounds of a batch: drawn anew each time they are seen.

What is drawn depends on the seed, the epoch and the batch's place in it alone, so that a run that
was killed goes on with the same pictures.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from attnlab.config.dataset import Augment
from attnlab.data.batch import Batch, Padded
from attnlab.data.codec import Codec
from attnlab.data.inputs import Input, Picture, Sound, light
from attnlab.data.target import MapLayout
from attnlab.data.target_batch import TargetBatch
from attnlab.errors import UserError

Random = torch.Generator


class Movement(Protocol):
    """How the places of an input moved."""

    def followed(self, target: TargetBatch, modality: Input, layout: MapLayout) -> TargetBatch:
        """Gold maps over the places where things are now."""
        ...


class Step(Protocol):
    """One change; each knows the form of input that it changes."""

    form: str

    def change(self, inputs: Padded, random: Random) -> tuple[Padded, Movement | None]:
        """The inputs changed, and how that moved their places."""
        ...


class Augmenter:
    """All steps of a dataset, for what its codec found."""

    def __init__(self, steps: Mapping[str, Augment], codec: Codec, seed: int) -> None:
        self.steps: list[Step] = [step.build() for step in steps.values()]
        self.codec, self.seed = codec, seed
        forms = {each.form for each in codec.inputs.values()}
        for name, step in zip(steps, self.steps, strict=True):
            if step.form not in forms:
                raise UserError(
                    f"dataset.augment.{name}: '{steps[name].kind}' changes a {step.form}; "
                    f"there is: {', '.join(sorted(forms))}"
                )
            if isinstance(step, Moving) and codec.answers.marks_picture:
                raise UserError(
                    f"dataset.augment.{name}: '{steps[name].kind}' would move the picture away "
                    f"from its answer ({codec.form}); allowed: light, noise"
                )

    def __call__(self, batch: Batch, position: Sequence[int]) -> Batch:
        """The batch at this position (epoch, number, process), changed."""
        state = np.random.SeedSequence([self.seed, *position]).generate_state(2)
        random = Random().manual_seed(int(state[0]) << 31 ^ int(state[1]))
        inputs = dict(batch.inputs)
        target = batch.target
        for step in self.steps:
            for name, modality in self.codec.inputs.items():
                if modality.form != step.form:
                    continue
                inputs[name], movement = step.change(inputs[name], random)
                if movement is not None and name == self.codec.attended:
                    target = movement.followed(target, modality, self.codec.layout)
        return replace(batch, inputs=inputs, target=target)


class Moving(ABC):
    """Steps that move what a picture shows."""

    form = Picture.form

    @abstractmethod
    def transforms(self, count: int, random: Random) -> Tensor:
        """Where each place of the new picture is found in the old: count x 2 x 3."""

    def change(self, inputs: Padded, random: Random) -> tuple[Padded, Movement]:
        transforms = self.transforms(len(inputs.values), random)
        return inputs._replace(values=moved(light(inputs.values), transforms)), Moved(transforms)


@dataclass(frozen=True)
class Moved:
    """Places of pictures that moved."""

    transforms: Tensor  # batch x 2 x 3

    def followed(self, target: TargetBatch, modality: Input, layout: MapLayout) -> TargetBatch:
        assert isinstance(modality, Picture)
        grid = layout.grid(modality.height, modality.width)

        def move(maps: Tensor) -> Tensor:  # batch x queries x cells
            return moved(maps.unflatten(-1, grid), self.transforms).flatten(-2)

        return target.with_maps(move)


class Affine(Moving):
    """Turn, stretch, slant and move."""

    def __init__(self, *, turn: float, scale: float, shear: float, shift: float) -> None:
        self.turn, self.shear = math.radians(turn), math.radians(shear)
        self.scale, self.shift = scale, shift

    def transforms(self, count: int, random: Random) -> Tensor:
        angle = self.turn * drawn(random, count)
        slant = torch.tan(self.shear * drawn(random, count))
        across, down = (1 + self.scale * drawn(random, count) for _ in range(2))
        cos, sin = angle.cos(), angle.sin()
        turned = torch.stack([cos, -sin, sin, cos], -1).view(count, 2, 2)
        one, zero = torch.ones(count), torch.zeros(count)
        shaped = torch.stack([one / across, slant, zero, one / down], -1).view(count, 2, 2)
        shift = 2 * self.shift * drawn(random, count, 2)[..., None]  # sides go from -1 to 1
        return torch.cat([turned @ shaped, shift], -1)


class Mirror(Moving):
    """Left becomes right."""

    def __init__(self, *, chance: float) -> None:
        self.chance = chance

    def transforms(self, count: int, random: Random) -> Tensor:
        transforms = torch.eye(2, 3).repeat(count, 1, 1)
        transforms[torch.rand(count, generator=random) < self.chance, 0, 0] = -1
        return transforms


class Light:
    """Brighter or darker, with more or less contrast."""

    form = Picture.form

    def __init__(self, *, brightness: float, contrast: float) -> None:
        self.brightness, self.contrast = brightness, contrast

    def change(self, inputs: Padded, random: Random) -> tuple[Padded, None]:
        pixels = light(inputs.values)
        shape = len(pixels), 1, 1, 1
        contrast = 1 + self.contrast * drawn(random, *shape)
        brightness = self.brightness * drawn(random, *shape)
        mean = pixels.mean((1, 2, 3), keepdim=True)
        changed = ((pixels - mean) * contrast + mean + brightness).clamp(0, 1)
        return inputs._replace(values=changed), None


class Noise:
    """White noise on every pixel."""

    form = Picture.form

    def __init__(self, *, amount: float) -> None:
        self.amount = amount

    def change(self, inputs: Padded, random: Random) -> tuple[Padded, None]:
        pixels = light(inputs.values)
        noise = torch.randn(pixels.shape, generator=random)
        return inputs._replace(values=pixels + self.amount * noise), None


class Mix:
    """White noise, so many dB below the sound."""

    form = Sound.form

    def __init__(self, *, chance: float, least_snr: float, most_snr: float) -> None:
        self.chance, self.least, self.most = chance, least_snr, most_snr

    def change(self, inputs: Padded, random: Random) -> tuple[Padded, None]:
        sounds, mask = inputs  # batch x samples
        power = sounds.square().sum(1, keepdim=True) / mask.sum(1, keepdim=True)
        below = torch.rand(len(sounds), 1, generator=random)
        snr = self.least + (self.most - self.least) * below  # dB
        some = torch.rand(len(sounds), 1, generator=random) < self.chance
        noise = torch.randn(sounds.shape, generator=random) * (power / 10 ** (snr / 10)).sqrt()
        return inputs._replace(values=sounds + noise * some * mask), None


class Gain:
    """Louder or fainter."""

    form = Sound.form

    def __init__(self, *, most: float) -> None:
        self.most = most

    def change(self, inputs: Padded, random: Random) -> tuple[Padded, None]:
        factor = 10 ** (self.most * drawn(random, len(inputs.values), 1) / 20)
        return inputs._replace(values=inputs.values * factor), None


class Tempo:
    """Faster and higher, or slower and lower: the whole sound, in less or more time."""

    form = Sound.form

    def __init__(self, *, most: float) -> None:
        self.most = most

    def change(self, inputs: Padded, random: Random) -> tuple[Padded, Movement]:
        rate = 1 + self.most * drawn(random, len(inputs.values), 1)
        lengths = (inputs.mask.sum(1, keepdim=True) / rate).long().clamp_min(1)
        samples = torch.arange(int(lengths.max()))
        mask = samples < lengths  # batch x samples
        values = between(inputs.values[:, None], samples * rate)[:, 0] * mask
        return Padded(values, mask), Paced(rate, lengths)


@dataclass(frozen=True)
class Paced:
    """Times of sounds that went faster or slower."""

    rate: Tensor  # batch x 1
    lengths: Tensor  # batch x 1, in samples, as they are now

    def followed(self, target: TargetBatch, modality: Input, layout: MapLayout) -> TargetBatch:
        assert isinstance(modality, Sound)
        counts = -(-self.lengths // (modality.hop * layout.stride))
        steps = torch.arange(int(counts.max()))
        middles = (steps + 0.5) * self.rate - 0.5  # batch x steps, in old steps
        mask = steps < counts

        def move(maps: Tensor) -> Tensor:  # batch x queries x steps
            return between(maps, middles) * mask[:, None]

        return replace(target.with_maps(move), key_mask=mask)


def between(values: Tensor, positions: Tensor) -> Tensor:
    """Values at places between two of them: batch x rows x old, batch x new -> batch x rows x new.

    Beyond the ends they go on as the last one.
    """
    positions = positions.clamp(0, values.shape[-1] - 1)
    before = positions.long()
    after = (before + 1).clamp_max(values.shape[-1] - 1)
    shape = *values.shape[:2], positions.shape[-1]
    left, right = (values.gather(2, at[:, None].expand(shape)) for at in (before, after))
    return torch.lerp(left, right, (positions - before)[:, None])


def drawn(random: Random, *shape: int) -> Tensor:
    """Numbers from -1 to 1."""
    return 2 * torch.rand(*shape, generator=random) - 1


def moved(pixels: Tensor, transforms: Tensor) -> Tensor:
    """batch x channels x height x width, dark beyond its edges."""
    size = [len(pixels), *pixels.shape[1:]]
    grid = F.affine_grid(transforms, size, align_corners=False)
    return F.grid_sample(pixels, grid, align_corners=False)
