"""Schemas of scores and normalizers. `conf/attention/score` and `normalizer` hold the defaults."""

from __future__ import annotations

from pydantic import Field

from attnlab.config.attention import Normalizer, Score

SCORES = "attnlab.attention.scores"

NORMALIZERS = "attnlab.attention.normalizers"


class Dot(Score, kind="dot", target=f"{SCORES}:Dot"):
    """q.k (Luong, Pham, Manning 2015)."""

    form = "inner"


class ScaledDot(Score, kind="scaled_dot", target=f"{SCORES}:ScaledDot"):
    """q.k / sqrt(d) (Vaswani et al. 2017)."""

    form = "inner"


class General(Score, kind="general", target=f"{SCORES}:General"):
    """q'Wk (Luong, Pham, Manning 2015)."""

    form = "projected"


class Cosine(Score, kind="cosine", target=f"{SCORES}:Cosine"):
    """Cosine of query and key, times a learned temperature (Henry et al. 2020, QK-norm)."""

    form = "metric"
    temperature: float = Field(gt=0, description="factor of the cosine at the start of training")


class L2(Score, kind="l2", target=f"{SCORES}:L2"):
    """-|q - k|^2 / sqrt(d) (Kim, Papamakarios, Mnih 2021)."""

    form = "metric"


class Linear(Score, kind="linear", target=f"{SCORES}:Linear"):
    """w.[q; k]."""

    form = "projected"


class Trilinear(Score, kind="trilinear", target=f"{SCORES}:Trilinear"):
    """w.[q; k; q*k] (Seo et al. 2017, BiDAF)."""

    form = "projected"


class Additive(Score, kind="additive", target=f"{SCORES}:Additive"):
    """w.tanh(Wq + Uk + b) (Bahdanau, Cho, Bengio 2015)."""

    form = "additive"
    hidden: int | None = Field(gt=0, description="width of the hidden layer; null is the key's")


class Concat(Score, kind="concat", target=f"{SCORES}:Concat"):
    """w.tanh(W[q; k]) (Luong, Pham, Manning 2015)."""

    form = "additive"
    hidden: int | None = Field(gt=0, description="width of the hidden layer; null is the key's")


class Location(Score, kind="location", target=f"{SCORES}:Location"):
    """W q, one logit a position, blind to the keys (Luong, Pham, Manning 2015)."""

    form = "blind"


class LocationAware(Score, kind="location_aware", target=f"{SCORES}:LocationAware"):
    """Additive, plus what a convolution finds in earlier maps (Chorowski et al. 2015)."""

    form = "recurrent"
    hidden: int | None = Field(gt=0, description="width of the hidden layer; null is the key's")
    filters: int = Field(gt=0, description="channels of the convolution over earlier maps")
    kernel_size: int = Field(gt=0, description="keys that the convolution spans")
    cumulative: bool = Field(description="convolve the sum of earlier maps, not the last alone")


class Elu(Score, kind="elu", target="attnlab.attention.linear_time:Elu"):
    """(elu(q) + 1).(elu(k) + 1) (Katharopoulos et al. 2020, linear attention)."""

    form = "features"


class Performer(Score, kind="performer", target="attnlab.attention.linear_time:Performer"):
    """Positive random features of exp(q.k / sqrt(d)) (Choromanski et al. 2021, FAVOR+)."""

    form = "features"
    features: int = Field(gt=0, description="random features; more is nearer to softmax")


class Relu(Score, kind="relu", target="attnlab.attention.linear_time:Relu"):
    """relu(q).relu(k), for cosFormer with position=cosine (Qin et al. 2022)."""

    form = "rectified"


class Uniform(Score, kind="uniform", target=f"{SCORES}:Uniform"):
    """The same for every key: mean pooling, and the uninformed control."""

    form = "blind"


class Spatial(Score, kind="spatial", target=f"{SCORES}:Spatial"):
    """A convolution over the mean and maximum of each cell's channels (Woo et al. 2018, CBAM)."""

    form = "picture"
    kernel_size: int = Field(gt=0, description="side of the convolution; odd")


class Softmax(Normalizer, kind="softmax", target=f"{NORMALIZERS}:Softmax"):
    """exp(s) / sum exp(s)."""

    form = "softmax"


class OffByOne(Normalizer, kind="off_by_one", target=f"{NORMALIZERS}:OffByOne"):
    """exp(s) / (1 + sum exp(s)): a query may attend to nothing (Miller 2023)."""

    form = "softmax"


class Sink(Normalizer, kind="sink", target=f"{NORMALIZERS}:Sink"):
    """exp(s) / (exp(c) + sum exp(s)) with c learned for each head (Xiao et al. 2024)."""

    form = "softmax"
    initial: float = Field(description="logit of the sink at the start of training")


class Sigmoid(Normalizer, kind="sigmoid", target=f"{NORMALIZERS}:Sigmoid"):
    """sigmoid(s + b), each key on its own (Ramapuram et al. 2024)."""

    form = "free"
    bias: float | None = Field(description="added to the logits; null is -log(number of keys)")


class Proportion(Normalizer, kind="proportion", target=f"{NORMALIZERS}:Proportion"):
    """s / sum s, for scores that are never negative."""

    form = "proportion"


class Sparsemax(Normalizer, kind="sparsemax", target=f"{NORMALIZERS}:Sparsemax"):
    """Projection on the simplex, with exact zeros (Martins, Astudillo 2016)."""


class Entmax(Normalizer, kind="entmax", target=f"{NORMALIZERS}:Entmax"):
    """Between softmax (alpha 1) and sparsemax (alpha 2) (Peters, Niculae, Martins 2019)."""

    alpha: float = Field(gt=1, le=4, description="1 is softmax (not itself allowed), 2 sparsemax")


class LearnedEntmax(Normalizer, kind="learned_entmax", target=f"{NORMALIZERS}:LearnedEntmax"):
    """Entmax with an alpha for each head, learned (Correia, Niculae, Martins 2019)."""

    initial: float = Field(gt=1, lt=2, description="alpha at the start of training")


class TopK(Normalizer, kind="top_k", target=f"{NORMALIZERS}:TopK"):
    """Softmax over the k best keys (Gupta et al. 2021)."""

    keep: int = Field(gt=0, description="keys that a query attends to")


class Gumbel(Normalizer, kind="gumbel", target=f"{NORMALIZERS}:Gumbel"):
    """One key: sampled while training with straight-through gradients (Jang et al. 2017)."""

    temperature: float = Field(gt=0, description="of the softmax that carries the gradient")


class Reinforce(Normalizer, kind="reinforce", target=f"{NORMALIZERS}:Reinforce"):
    """One key: sampled while training, learned by REINFORCE (Xu et al. 2015, Williams 1992)."""


class HardKuma(Normalizer, kind="hard_kuma", target="attnlab.attention.gates:HardKuma"):
    """A gate for each key, sampled open, shut or in between (Bastings, Aziz, Titov 2019)."""

    stretch: float = Field(
        gt=0, le=1, description="how far beyond 0 and 1 a gate may be sampled before it is cut off"
    )


class Monotonic(Normalizer, kind="monotonic", target=f"{NORMALIZERS}:Monotonic"):
    """The chance to stop at each key, onwards from the last query (Raffel et al. 2017)."""

    form = "recurrent"
    noise: float = Field(ge=0, description="noise on the logits in training, to make them decided")
    bias: float = Field(description="logit of stopping at the start of training")
