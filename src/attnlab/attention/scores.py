"""How well a key matches a query: inner products, additive scores, and scores by position."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attnlab.attention.mask import Mask
from attnlab.attention.parts import Past, Score, Shape
from attnlab.attention.tensors import project_maps
from attnlab.errors import UserError


class InnerProduct(Score):
    """scale * q.k of what `prepare_query` and `prepare_key` make.

    Fused kernels for scaled dot products serve every such score.
    """

    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        return (query * self.scale) @ key.transpose(-1, -2)  # batch x maps x queries x keys


class Dot(InnerProduct):
    """q.k (Luong, Pham, Manning 2015, "Effective Approaches to Attention-based NMT")."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        if shape.query_width != shape.key_width:
            raise UserError(
                f"a query of width {shape.query_width} and a key of width {shape.key_width} have "
                "no inner product; attention/score=general or additive joins different widths"
            )


class ScaledDot(Dot):
    """q.k / sqrt(d) (Vaswani et al. 2017, "Attention Is All You Need")."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.scale = 1 / math.sqrt(shape.query_width)


class General(InnerProduct):
    """q'Wk, a matrix for each map (Luong, Pham, Manning 2015)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.weight = nn.Parameter(torch.empty(shape.maps, shape.query_width, shape.key_width))
        nn.init.uniform_(self.weight, -1, 1)
        with torch.no_grad():  # logits of unit variance for inputs of unit variance
            self.weight *= math.sqrt(3 / (shape.query_width * shape.key_width))

    def prepare_query(self, query: Tensor) -> Tensor:
        return project_maps(query, self.weight)  # batch x maps x queries x key_width


class Cosine(Dot):
    """tau * q.k / (|q| |k|), tau learned for each map (Henry et al. 2020, "Query-Key
    Normalization for Transformers")."""

    def __init__(self, shape: Shape, *, temperature: float) -> None:
        super().__init__(shape)
        self.temperature = nn.Parameter(torch.full((shape.maps, 1, 1), temperature))

    def prepare_query(self, query: Tensor) -> Tensor:
        return F.normalize(query, dim=-1) * self.temperature.to(query.dtype)

    def prepare_key(self, key: Tensor, mask: Mask) -> Tensor:
        return F.normalize(key, dim=-1)


class L2(Dot):
    """-|q - k|^2 / sqrt(d) (Kim, Papamakarios, Mnih 2021, "The Lipschitz Constant of
    Self-Attention").

    -|q - k|^2 = [2q, -|q|^2, 1].[k, 1, -|k|^2].
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.scale = 1 / math.sqrt(shape.query_width)

    def prepare_query(self, query: Tensor) -> Tensor:
        length = query.square().sum(-1, keepdim=True)
        return torch.cat([2 * query, -length, torch.ones_like(length)], dim=-1)

    def prepare_key(self, key: Tensor, mask: Mask) -> Tensor:
        length = key.square().sum(-1, keepdim=True)
        return torch.cat([key, torch.ones_like(length), -length], dim=-1)


class Linear(InnerProduct):
    """w.[q; k] = [w_q.q, 1].[1, w_k.k], vectors for each map."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.query_weight = _vectors(shape.maps, shape.query_width)
        self.key_weight = _vectors(shape.key_maps, shape.key_width)

    def prepare_query(self, query: Tensor) -> Tensor:
        part = project_maps(query, self.query_weight)  # batch x maps x queries x 1
        return torch.cat([part, torch.ones_like(part)], dim=-1)

    def prepare_key(self, key: Tensor, mask: Mask) -> Tensor:
        part = project_maps(key, self.key_weight)  # batch x key_maps x keys x 1
        return torch.cat([torch.ones_like(part), part], dim=-1)


class Trilinear(Linear):
    """w.[q; k; q*k] (Seo et al. 2017, "Bidirectional Attention Flow")."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        Dot(shape)  # the product of both needs one width
        self.product_weight = _vectors(shape.maps, shape.query_width)

    def prepare_query(self, query: Tensor) -> Tensor:
        product = query * self.product_weight.to(query.dtype).transpose(-1, -2)
        return torch.cat([super().prepare_query(query), product], dim=-1)

    def prepare_key(self, key: Tensor, mask: Mask) -> Tensor:
        return torch.cat([super().prepare_key(key, mask), key], dim=-1)


def _vectors(maps: int, width: int) -> nn.Parameter:
    """maps x width x 1, such that inputs of unit variance give logits of unit variance."""
    return nn.Parameter(torch.randn(maps, width, 1) / math.sqrt(width))


class Additive(Score):
    """w.tanh(Wq + Uk + b) (Bahdanau, Cho, Bengio 2015, "Neural Machine Translation by Jointly
    Learning to Align and Translate").

    W q and U k depend on one side alone and are prepared (and cached) per side; what is left,
    w.tanh(q' + k'), is the part that is quadratic and that `kernels.additive` computes without the
    queries x keys x hidden tensor.
    """

    def __init__(self, shape: Shape, *, hidden: int | None) -> None:
        super().__init__(shape)
        width = hidden or shape.key_width
        self.query_weight = _glorot(shape.maps, shape.query_width, width)
        self.key_weight = _glorot(shape.key_maps, shape.key_width, width)
        self.bias = nn.Parameter(torch.zeros(shape.key_maps, 1, width))
        self.energy = _glorot(shape.maps, width, 1)

    def prepare_query(self, query: Tensor) -> Tensor:
        return project_maps(query, self.query_weight)  # batch x maps x queries x hidden

    def prepare_key(self, key: Tensor, mask: Mask) -> Tensor:
        bias = self.bias.to(key.dtype)
        return project_maps(key, self.key_weight) + bias  # batch x key_maps x keys x hidden

    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        joined = torch.tanh(
            query.unsqueeze(3) + key.unsqueeze(2)
        )  # b x m x queries x keys x hidden
        energy = self.energy.to(query.dtype).unsqueeze(1)  # maps x 1 x hidden x 1
        return (joined @ energy).squeeze(-1)  # batch x maps x queries x keys


class Concat(Additive):
    """w.tanh(W[q; k]) (Luong, Pham, Manning 2015): additive without bias, with
    one matrix initialized for both sides."""

    def __init__(self, shape: Shape, *, hidden: int | None) -> None:
        super().__init__(shape, hidden=hidden)
        width, both = self.energy.shape[1], shape.query_width + shape.key_width
        joint = _glorot(shape.maps, both, width).detach()
        with torch.no_grad():
            self.query_weight.copy_(joint[:, : shape.query_width])
            self.key_weight.copy_(joint[: shape.key_maps, shape.query_width :])
        self.bias.requires_grad_(False)


def _glorot(maps: int, fan_in: int, fan_out: int) -> nn.Parameter:
    """maps x fan_in x fan_out."""
    bound = math.sqrt(6 / (fan_in + fan_out))
    return nn.Parameter(torch.empty(maps, fan_in, fan_out).uniform_(-bound, bound))


class Uniform(Score):
    """The same for every key: mean pooling, and the uninformed control."""

    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        batch, maps, queries, _ = query.shape
        return query.new_zeros(batch, maps, queries, key.shape[2])


class Location(Score):
    """W q, one logit for each position, independent of the keys (Luong, Pham, Manning 2015)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        weight = torch.randn(shape.maps, shape.query_width, shape.max_length)
        self.weight = nn.Parameter(weight / math.sqrt(shape.query_width))

    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        keys = key.shape[2]
        if keys > self.shape.max_length:
            raise UserError(
                f"attention/score=location has logits for {self.shape.max_length} positions, "
                f"the input has {keys}"
            )
        return project_maps(query, self.weight[:, :, :keys])  # batch x maps x queries x keys


class LocationAware(Additive):
    """w.tanh(Wq + Uk + V f + b), f the features of a convolution over earlier maps (Chorowski
    et al. 2015, "Attention-Based Models for Speech Recognition")."""

    def __init__(
        self,
        shape: Shape,
        *,
        hidden: int | None,
        filters: int,
        kernel_size: int,
        cumulative: bool,
    ) -> None:
        super().__init__(shape, hidden=hidden)
        self.cumulative = cumulative
        self.filters = nn.Conv1d(1, filters, kernel_size, padding="same", bias=False)
        width = self.energy.shape[1]
        bound = math.sqrt(6 / (filters + width))
        weight = torch.empty(shape.maps, filters, width).uniform_(-bound, bound)
        self.location_weight = nn.Parameter(weight)

    def step(self, query: Tensor, key: Tensor, past: Past) -> Tensor:
        earlier = past.total if self.cumulative else past.previous  # batch x maps x keys
        flat = earlier.flatten(0, 1).unsqueeze(1).to(self.filters.weight.dtype)
        features = self.filters(flat).transpose(1, 2)  # batch * maps x keys x filters
        features = features.unflatten(0, earlier.shape[:2]).to(key.dtype)
        return self(query, key + project_maps(features, self.location_weight))


class Spatial(Score):
    """A convolution over the mean and maximum of each cell's channels (Woo et al. 2018, "CBAM",
    the spatial half). Cells form `mask.grid`, or one row where the mask names no grid."""

    def __init__(self, shape: Shape, *, kernel_size: int) -> None:
        super().__init__(shape)
        self.convolution = nn.Conv2d(2, 1, kernel_size, padding="same", bias=False)

    def prepare_key(self, key: Tensor, mask: Mask) -> Tensor:
        """batch x key_maps x keys x width -> batch x key_maps x keys x 1."""
        if mask.keys is not None:
            key = key.masked_fill(~mask.keys[:, None, :, None], 0)
        pooled = torch.stack([key.mean(-1), key.amax(-1)], dim=2)  # batch x maps x 2 x keys
        image = pooled.unflatten(-1, mask.grid or (1, key.shape[2])).flatten(0, 1)
        weight = self.convolution.weight.to(key.dtype)
        logits = F.conv2d(image, weight, padding="same")  # batch * maps x 1 x height x width
        return logits.flatten(1).unflatten(0, key.shape[:2]).unsqueeze(-1)

    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        return key.transpose(-1, -2).expand(-1, -1, query.shape[2], -1)
