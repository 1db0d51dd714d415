"""How weights are made: the scores and the normalizers that a mechanism can have."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from attnlab.config.section import Variant

SCORES = "attnlab.attention.scores"
NORMALIZERS = "attnlab.attention.normalizers"


class Score(Variant, slot="score"):
    """How well a key answers a query."""

    form: ClassVar[str] = "other"  # what the combination table goes by


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
    cumulative: bool = Field(description="look at the sum of earlier maps, not at the last alone")


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
    """The same for every key: mean pooling, and the control that knows nothing."""

    form = "blind"


class Spatial(Score, kind="spatial", target=f"{SCORES}.location:Spatial"):
    """A convolution over the mean and maximum of each cell's channels (Woo et al. 2018, CBAM)."""

    form = "picture"
    kernel_size: int = Field(gt=0, description="side of the convolution; odd")


class Normalizer(Variant, slot="normalizer"):
    """How logits become weights."""

    form: ClassVar[str] = "other"


class Softmax(Normalizer, kind="softmax", target=f"{NORMALIZERS}.soft:Softmax"):
    """exp(s) / sum exp(s)."""

    form = "softmax"


class OffByOne(Normalizer, kind="off_by_one", target=f"{NORMALIZERS}.soft:OffByOne"):
    """exp(s) / (1 + sum exp(s)): a query may look nowhere (Miller 2023)."""

    form = "softmax"


class Sink(Normalizer, kind="sink", target=f"{NORMALIZERS}.soft:Sink"):
    """exp(s) / (exp(c) + sum exp(s)) with c learned for each head (Xiao et al. 2024)."""

    form = "softmax"
    initial: float = Field(description="logit of the sink at the start of training")


class Sigmoid(Normalizer, kind="sigmoid", target=f"{NORMALIZERS}.soft:Sigmoid"):
    """sigmoid(s + b), each key on its own (Ramapuram et al. 2024)."""

    form = "free"
    bias: float | None = Field(description="added to the logits; null is -log(number of keys)")


class Proportion(Normalizer, kind="proportion", target=f"{NORMALIZERS}.soft:Proportion"):
    """s / sum s, for scores that are never negative."""

    form = "proportion"


class Sparsemax(Normalizer, kind="sparsemax", target=f"{NORMALIZERS}.sparse:Sparsemax"):
    """Projection on the simplex, with exact zeros (Martins, Astudillo 2016)."""


class Entmax(Normalizer, kind="entmax", target=f"{NORMALIZERS}.sparse:Entmax"):
    """Between softmax (alpha 1) and sparsemax (alpha 2) (Peters, Niculae, Martins 2019)."""

    alpha: float = Field(gt=1, le=4, description="1 is softmax (not itself allowed), 2 sparsemax")


class LearnedEntmax(
    Normalizer, kind="learned_entmax", target=f"{NORMALIZERS}.sparse:LearnedEntmax"
):
    """Entmax with an alpha for each head, learned (Correia, Niculae, Martins 2019)."""

    initial: float = Field(gt=1, lt=2, description="alpha at the start of training")


class TopK(Normalizer, kind="top_k", target=f"{NORMALIZERS}.hard:TopK"):
    """Softmax over the k best keys (Gupta et al. 2021)."""

    keep: int = Field(gt=0, description="keys that a query looks at")


class Gumbel(Normalizer, kind="gumbel", target=f"{NORMALIZERS}.hard:Gumbel"):
    """One key: drawn while training with straight-through gradients (Jang et al. 2017)."""

    temperature: float = Field(gt=0, description="of the softmax that carries the gradient")


class Reinforce(Normalizer, kind="reinforce", target=f"{NORMALIZERS}.hard:Reinforce"):
    """One key: drawn while training, learned by REINFORCE (Xu et al. 2015, Williams 1992)."""


class HardKuma(Normalizer, kind="hard_kuma", target=f"{NORMALIZERS}.gates:HardKuma"):
    """A gate for each key, drawn open, shut or in between (Bastings, Aziz, Titov 2019)."""

    stretch: float = Field(
        gt=0, le=1, description="how far beyond 0 and 1 a gate may be drawn before it is cut off"
    )


class Monotonic(Normalizer, kind="monotonic", target=f"{NORMALIZERS}.monotonic:Monotonic"):
    """The chance to stop at each key, onwards from the last query (Raffel et al. 2017)."""

    form = "recurrent"
    noise: float = Field(ge=0, description="noise on the logits in training, to make them decided")
    bias: float = Field(description="logit of stopping at the start of training")
