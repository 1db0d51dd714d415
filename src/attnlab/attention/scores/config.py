"""Schemas of the scores. `conf/attention/score/*.yaml` holds the default values."""

from __future__ import annotations

from pydantic import Field

from attnlab.config.attention import Score

SCORES = "attnlab.attention.scores"


class Dot(Score, kind="dot", target=f"{SCORES}.inner:Dot"):
    """q.k (Luong, Pham, Manning 2015)."""

    form = "inner"


class ScaledDot(Score, kind="scaled_dot", target=f"{SCORES}.inner:ScaledDot"):
    """q.k / sqrt(d) (Vaswani et al. 2017)."""

    form = "inner"


class General(Score, kind="general", target=f"{SCORES}.inner:General"):
    """q'Wk (Luong, Pham, Manning 2015)."""

    form = "projected"


class Cosine(Score, kind="cosine", target=f"{SCORES}.inner:Cosine"):
    """Cosine of query and key, times a learned temperature (Henry et al. 2020, QK-norm)."""

    form = "metric"
    temperature: float = Field(gt=0, description="factor of the cosine at the start of training")


class L2(Score, kind="l2", target=f"{SCORES}.inner:L2"):
    """-|q - k|^2 / sqrt(d) (Kim, Papamakarios, Mnih 2021)."""

    form = "metric"


class Linear(Score, kind="linear", target=f"{SCORES}.inner:Linear"):
    """w.[q; k]."""

    form = "projected"


class Trilinear(Score, kind="trilinear", target=f"{SCORES}.inner:Trilinear"):
    """w.[q; k; q*k] (Seo et al. 2017, BiDAF)."""

    form = "projected"


class Additive(Score, kind="additive", target=f"{SCORES}.additive:Additive"):
    """w.tanh(Wq + Uk + b) (Bahdanau, Cho, Bengio 2015)."""

    form = "additive"
    hidden: int | None = Field(gt=0, description="width of the hidden layer; null is the key's")


class Concat(Score, kind="concat", target=f"{SCORES}.additive:Concat"):
    """w.tanh(W[q; k]) (Luong, Pham, Manning 2015)."""

    form = "additive"
    hidden: int | None = Field(gt=0, description="width of the hidden layer; null is the key's")


class Location(Score, kind="location", target=f"{SCORES}.location:Location"):
    """W q, one logit a position, blind to the keys (Luong, Pham, Manning 2015)."""

    form = "blind"


class LocationAware(Score, kind="location_aware", target=f"{SCORES}.location:LocationAware"):
    """Additive, plus what a convolution finds in earlier maps (Chorowski et al. 2015)."""

    form = "recurrent"
    hidden: int | None = Field(gt=0, description="width of the hidden layer; null is the key's")
    filters: int = Field(gt=0, description="channels of the convolution over earlier maps")
    kernel_size: int = Field(gt=0, description="keys that the convolution spans")
    cumulative: bool = Field(description="convolve the sum of earlier maps, not the last alone")


class Elu(Score, kind="elu", target=f"{SCORES}.features:Elu"):
    """(elu(q) + 1).(elu(k) + 1) (Katharopoulos et al. 2020, linear attention)."""

    form = "features"


class Performer(Score, kind="performer", target=f"{SCORES}.features:Performer"):
    """Positive random features of exp(q.k / sqrt(d)) (Choromanski et al. 2021, FAVOR+)."""

    form = "features"
    features: int = Field(gt=0, description="random features; more is nearer to softmax")


class Relu(Score, kind="relu", target=f"{SCORES}.features:Relu"):
    """relu(q).relu(k), for cosFormer with position=cosine (Qin et al. 2022)."""

    form = "rectified"


class Uniform(Score, kind="uniform", target=f"{SCORES}.location:Uniform"):
    """The same for every key: mean pooling, and the uninformed control."""

    form = "blind"


class Spatial(Score, kind="spatial", target=f"{SCORES}.location:Spatial"):
    """A convolution over the mean and maximum of each cell's channels (Woo et al. 2018, CBAM)."""

    form = "picture"
    kernel_size: int = Field(gt=0, description="side of the convolution; odd")
