"""How positions enter: added to the inputs, or as logits that depend on the distance to a key."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from attnlab.attention.parts import Position, Shape
from attnlab.errors import UserError


class NoPosition(Position):
    """No positions."""


class Sinusoidal(Position):
    """Sines and cosines of growing wavelength (Vaswani et al. 2017)."""

    def add_to_query(self, query: Tensor, positions: Tensor) -> Tensor:
        return query + sinusoids(positions, query.shape[-1]).to(query.dtype)

    def add_to_key(self, key: Tensor, positions: Tensor) -> Tensor:
        return key + sinusoids(positions, key.shape[-1]).to(key.dtype)


class LearnedPosition(Position):
    """A learned vector for each position, on either side (Gehring et al. 2017)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        inputs = shape.inputs
        self.query = nn.Embedding(inputs.max_length, inputs.query_dim)
        self.key = nn.Embedding(inputs.max_length, inputs.key_dim)
        for table in (self.query, self.key):
            nn.init.normal_(table.weight, std=0.02)

    def add_to_query(self, query: Tensor, positions: Tensor) -> Tensor:
        return query + self._rows(self.query, positions).to(query.dtype)

    def add_to_key(self, key: Tensor, positions: Tensor) -> Tensor:
        return key + self._rows(self.key, positions).to(key.dtype)

    def _rows(self, table: nn.Embedding, positions: Tensor) -> Tensor:
        if len(positions) > table.num_embeddings:
            raise UserError(
                f"attention/position=learned has {table.num_embeddings} positions, "
                f"{len(positions)} are needed"
            )
        return table(positions)


def sinusoids(positions: Tensor, width: int, *, interleaved: bool = False) -> Tensor:
    """Sines and cosines of growing wavelength (Vaswani et al. 2017).

    Args:
        positions: The positions, one-dimensional.
        width: How many numbers stand for each position.
        interleaved: Sine and cosine of a wavelength side by side, rather than all sines first.

    Returns:
        positions x width.
    """
    steps = torch.arange(0, width, 2, device=positions.device, dtype=torch.float32)
    frequency = torch.exp(steps * (-math.log(10000.0) / width))  # width / 2
    angle = positions[:, None].float() * frequency  # positions x width / 2
    pair = [angle.sin(), angle.cos()]
    joined = torch.stack(pair, -1).flatten(1) if interleaved else torch.cat(pair, -1)
    return joined[:, :width]


class Shaw(Position):
    """q.a(j - i), a learned for each distance up to `reach` and shared by the maps (Shaw,
    Uszkoreit, Vaswani 2018, "Self-Attention with Relative Position Representations"; their
    second table, added to values, changes contexts and not maps, and is left out)."""

    def __init__(self, shape: Shape, *, reach: int) -> None:
        super().__init__(shape)
        self.reach = reach
        self.table = nn.Parameter(torch.randn(2 * reach + 1, shape.query_width) * 0.02)

    def bias(self, query: Tensor, positions: Tensor, keys: int, scale: float) -> Tensor:
        matched = (query @ self.table.to(query.dtype).T) * scale  # batch x maps x queries x 2r + 1
        index = distances(positions, keys).clamp(-self.reach, self.reach) + self.reach
        return _along(matched, index)


class T5Bias(Position):
    """A learned number for each map and bucket of distances: near ones alone, far ones together,
    on a logarithmic scale (Raffel et al. 2020, "Exploring the Limits of Transfer Learning")."""

    def __init__(self, shape: Shape, *, buckets: int, reach: int) -> None:
        super().__init__(shape)
        self.buckets, self.reach = buckets, reach
        self.table = nn.Parameter(torch.randn(shape.maps, buckets) * 0.02)

    def bias(self, query: Tensor, positions: Tensor, keys: int, scale: float) -> Tensor:
        return self.table[:, self._bucket(distances(positions, keys))][None]

    def _bucket(self, apart: Tensor) -> Tensor:
        """queries x keys distances -> their bucket; the upper half is for keys after the query."""
        side = self.buckets // 2
        near = side // 2
        size = apart.abs()
        scaled = torch.log(size.clamp_min(1).float() / near) / math.log(self.reach / near)
        far = (near + (scaled * (side - near)).long()).clamp_max(side - 1)
        return torch.where(size < near, size, far) + side * (apart > 0).long()


class Alibi(Position):
    """-slope |i - j|, with slopes 2^(-8/n), 2^(-16/n), ... for n maps (Press, Smith, Lewis 2022,
    "Train Short, Test Long")."""

    slopes: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.register_buffer("slopes", _slopes(shape.maps), persistent=False)

    def bias(self, query: Tensor, positions: Tensor, keys: int, scale: float) -> Tensor:
        return -self.slopes[:, None, None] * distances(positions, keys).abs()[None, None]


class TransformerXL(Position):
    """(q + u).k + (q + v).W r(i - j), r sinusoids of the distance (Dai et al. 2019,
    "Transformer-XL")."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        width = shape.query_width
        self.content_bias = nn.Parameter(torch.zeros(shape.maps, 1, width))  # u
        self.position_bias = nn.Parameter(torch.zeros(shape.maps, 1, width))  # v
        self.weight = nn.Parameter(torch.randn(shape.maps, width, width) / math.sqrt(width))

    def transform_query(self, query: Tensor, positions: Tensor) -> Tensor:
        return query + self.content_bias.to(query.dtype)

    def bias(self, query: Tensor, positions: Tensor, keys: int, scale: float) -> Tensor:
        apart = distances(positions, keys)  # queries x keys
        lowest = 1 - int(positions.max()) - 1
        range_ = torch.arange(lowest, keys, device=query.device)
        relative = sinusoids(-range_, query.shape[-1]).to(query.dtype)
        projected = relative @ self.weight.to(query.dtype)  # maps x distances x width
        matched = (query + self.position_bias.to(query.dtype)) @ projected.mT * scale
        return _along(matched, apart - lowest)


class Rope(Position):
    """Pairs of dimensions rotated by position times frequency (Su et al. 2021, "RoFormer").

    Texts `factor` times as long as those of training may have lower frequencies: all of them by
    that factor (linear; Chen et al. 2023), the lower the more by a larger base (NTK-aware; bloc97
    2023), or those alone that turn less than once in a text of training, the ones that turn often
    staying as they are, with sharper logits (YaRN; Peng et al. 2023).
    """

    def __init__(
        self, shape: Shape, *, base: float, scaling: str, factor: float, trained_length: int
    ) -> None:
        super().__init__(shape)
        self.base, self.scaling, self.factor = base, scaling, factor
        self.trained_length = trained_length
        self.stretch = 0.1 * math.log(factor) + 1 if scaling == "yarn" else 1.0  # of both sides

    def transform_query(self, query: Tensor, positions: Tensor) -> Tensor:
        return self._rotated(query, positions)

    def transform_key(self, key: Tensor, positions: Tensor) -> Tensor:
        return self._rotated(key, positions)

    def _rotated(self, x: Tensor, positions: Tensor) -> Tensor:
        """Dimension i is paired with i + half; an odd last one stays as it is."""
        half = x.shape[-1] // 2
        angle = positions[:, None].float() * self.frequencies(half, x.device)
        cos, sin = angle.cos() * self.stretch, angle.sin() * self.stretch  # length x half
        cos, sin = cos.to(x.dtype), sin.to(x.dtype)
        one, other, rest = x[..., :half], x[..., half : 2 * half], x[..., 2 * half :]
        return torch.cat([one * cos - other * sin, other * cos + one * sin, rest], dim=-1)

    def frequencies(self, half: int, device: torch.device) -> Tensor:
        """Radians from one position to the next, of each pair of dimensions: half."""
        steps, base = torch.arange(half, device=device, dtype=torch.float32), self.base
        if self.scaling == "ntk" and half > 1:
            base = base * self.factor ** (half / (half - 1))
        own = base ** (-steps / max(half, 1))
        if self.scaling == "linear":
            return own / self.factor
        if self.scaling != "yarn":
            return own
        # the pairs that turn 32 times and once in a text of training
        many, once = (
            half * math.log(self.trained_length / (2 * math.pi * turns)) / math.log(base)
            for turns in (32, 1)
        )
        low, high = max(math.floor(many), 0), min(math.ceil(once), 2 * half - 1)
        slowed = ((steps - low) / max(high - low, 1e-3)).clamp(0, 1)
        return own * (1 - slowed) + own / self.factor * slowed


class Cosine(Position):
    """Features weighed by cos(pi/2 (i - j)/M) = cos i' cos j' + sin i' sin j', where
    i' = pi/2 i/M and M is the longest length (Qin et al. 2022, "cosFormer").

    Both parts are never negative up to M, so that rectifying afterwards changes nothing.
    """

    def transform_query(self, query: Tensor, positions: Tensor) -> Tensor:
        return self._weighed(query, positions)

    def transform_key(self, key: Tensor, positions: Tensor) -> Tensor:
        return self._weighed(key, positions)

    def _weighed(self, x: Tensor, positions: Tensor) -> Tensor:
        angle = positions.clamp_max(self.shape.max_length) * (math.pi / 2 / self.shape.max_length)
        angle = angle[:, None].to(x.dtype)
        return torch.cat([x * angle.cos(), x * angle.sin()], dim=-1)


def distances(positions: Tensor, keys: int) -> Tensor:
    """queries x keys: how far each key is after the query (negative: before)."""
    return torch.arange(keys, device=positions.device) - positions[:, None]


def _along(matched: Tensor, index: Tensor) -> Tensor:
    """Pick from batch x maps x queries x distances: batch x maps x queries x keys."""
    return matched.gather(-1, index.expand(*matched.shape[:2], -1, -1))


def _slopes(maps: int) -> Tensor:
    """The paper's slopes; for other numbers than powers of two, filled up from the next one."""
    power = 2 ** math.floor(math.log2(maps))
    slopes = [2 ** (-8 * (i + 1) / power) for i in range(power)]
    slopes += [2 ** (-4 * (2 * i + 1) / power) for i in range(maps - power)]
    return torch.tensor(slopes)
