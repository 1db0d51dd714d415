"""What a mechanism is made of: score x normalizer x structure x position x heads.

`conf/attention/*.yaml` names mechanisms, `conf/attention/<part>/*.yaml` holds the default values
of each part. What goes together, and which kernel serves it, stands in `combinations`.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from attnlab.config.section import Section, Variant

SCORES = "attnlab.attention.scores"
NORMALIZERS = "attnlab.attention.normalizers"
STRUCTURES = "attnlab.attention.structures"
POSITIONS = "attnlab.attention.positions"
HEADS = "attnlab.attention.heads"


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


class Spatial(Score, kind="spatial", target=f"{SCORES}.spatial:Spatial"):
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


class Structure(Variant, slot="structure"):
    """Which keys a query may look at."""

    form: ClassVar[str] = "other"


class Global(Structure, kind="global", target=f"{STRUCTURES}.patterns:Global"):
    """Every key."""

    form = "pattern"


class CausalStructure(Structure, kind="causal", target=f"{STRUCTURES}.patterns:CausalStructure"):
    """No key after the query."""

    form = "causal"


class Window(Structure, kind="window", target=f"{STRUCTURES}.patterns:WindowStructure"):
    """Keys near the query's own position (Luong et al. 2015, local-m; Beltagy et al. 2020)."""

    form = "pattern"
    left: int = Field(ge=0, description="keys seen before the query's position")
    right: int = Field(ge=0, description="keys seen after the query's position")


class Dilated(Structure, kind="dilated", target=f"{STRUCTURES}.patterns:DilatedStructure"):
    """Every n-th key of a window (Beltagy et al. 2020)."""

    form = "pattern"
    reach: int = Field(gt=0, description="keys seen on each side")
    step: int = Field(gt=0, description="distance between two of them")


class Strided(Structure, kind="strided", target=f"{STRUCTURES}.patterns:StridedStructure"):
    """The last keys, and every n-th before them (Child et al. 2019)."""

    form = "pattern"
    stride: int = Field(gt=0, description="both the window and the distance beyond it")


class Block(Structure, kind="block", target=f"{STRUCTURES}.patterns:BlockStructure"):
    """Keys of the query's own block and its neighbours (Qiu et al. 2020)."""

    form = "pattern"
    size: int = Field(gt=0, description="positions in a block")
    neighbours: int = Field(ge=0, description="blocks seen on each side of one's own")


class BigBird(Structure, kind="bigbird", target=f"{STRUCTURES}.patterns:BigBirdStructure"):
    """Window, global keys and random blocks (Zaheer et al. 2020)."""

    form = "pattern"
    block: int = Field(gt=0, description="positions in a block")
    window: int = Field(ge=0, description="blocks seen on each side")
    global_blocks: int = Field(ge=0, description="blocks at the start that see and are seen by all")
    random_blocks: int = Field(ge=0, description="blocks that each block picks at random")
    seed: int = Field(ge=0, description="of the random blocks")


class LocalP(Structure, kind="local_p", target=f"{STRUCTURES}.local_p:LocalP"):
    """A Gaussian round a place that the query predicts (Luong, Pham, Manning 2015, local-p)."""

    form = "reweighted"
    width: int = Field(gt=0, description="keys seen on each side; two standard deviations")


class Coverage(Structure, kind="coverage", target=f"{STRUCTURES}.coverage:Coverage"):
    """Logits know what was looked at before (Tu et al. 2016, See et al. 2017)."""

    form = "recurrent"
    initial: float = Field(description="what a unit of past attention adds to the logit at first")


class Hierarchical(
    Structure, kind="hierarchical", target=f"{STRUCTURES}.hierarchical:Hierarchical"
):
    """Attention over segments times attention within each (Yang et al. 2016, HAN)."""

    form = "nested"
    segment: int = Field(gt=0, description="keys in a segment, where the batch names no segments")


class Nystrom(Structure, kind="nystrom", target=f"{STRUCTURES}.nystrom:Nystrom"):
    """Softmax attention through a few landmarks, in linear time (Xiong et al. 2021)."""

    form = "landmarks"
    landmarks: int = Field(gt=0, description="means of queries and keys that stand for all")


class Position(Variant, slot="position"):
    """How the mechanism knows where queries and keys stand."""

    form: ClassVar[str] = "bias"  # plugins: something added to logits
    relative: ClassVar[bool] = False  # counts from query to key: needs both on one axis


class NoPosition(Position, kind="none", target=f"{POSITIONS}.absolute:NoPosition"):
    """It does not know."""

    form = "none"


class Sinusoidal(Position, kind="sinusoidal", target=f"{POSITIONS}.absolute:Sinusoidal"):
    """Sines and cosines added to queries and keys (Vaswani et al. 2017)."""

    form = "absolute"


class LearnedPosition(Position, kind="learned", target=f"{POSITIONS}.absolute:LearnedPosition"):
    """A learned vector for each position, added to queries and keys (Gehring et al. 2017)."""

    form = "absolute"


class Shaw(Position, kind="shaw", target=f"{POSITIONS}.relative:Shaw"):
    """q.a(j - i), learned for each distance (Shaw, Uszkoreit, Vaswani 2018)."""

    form = "inner_bias"
    relative = True
    reach: int = Field(gt=0, description="distances beyond this are as this")


class T5Bias(Position, kind="t5", target=f"{POSITIONS}.relative:T5Bias"):
    """A learned number for each bucket of distances (Raffel et al. 2020)."""

    relative = True
    buckets: int = Field(ge=4, description="buckets, half of them for keys after the query")
    reach: int = Field(gt=1, description="distances beyond this fall in the last bucket")


class Alibi(Position, kind="alibi", target=f"{POSITIONS}.relative:Alibi"):
    """-slope |i - j|, a slope for each head (Press, Smith, Lewis 2022)."""

    relative = True


class CosinePosition(Position, kind="cosine", target=f"{POSITIONS}.relative:Cosine"):
    """Scores of features times cos(pi/2 (i - j)/M) (Qin et al. 2022, cosFormer)."""

    form = "weighing"
    relative = True


class Rope(Position, kind="rope", target=f"{POSITIONS}.rotary:Rope"):
    """Queries and keys rotated by their position (Su et al. 2021)."""

    form = "rotation"
    relative = True
    base: float = Field(gt=1, description="longest wavelength, in turns of 2 pi positions")


class TransformerXL(Position, kind="transformer_xl", target=f"{POSITIONS}.relative:TransformerXL"):
    """(q + u).k + (q + v).W r(i - j) (Dai et al. 2019)."""

    form = "inner_bias"
    relative = True


class Heads(Variant, slot="heads"):
    """How many maps, and what they share."""

    form: ClassVar[str] = "split"


class One(Heads, kind="one", target=f"{HEADS}.plain:One"):
    """One map over the inputs as they are, without projections."""


class Multi(Heads, kind="multi", target=f"{HEADS}.plain:Multi"):
    """Each head projects queries, keys and values (Vaswani et al. 2017)."""

    count: int = Field(gt=0, description="heads; divides the query's width")


class MultiQuery(Heads, kind="multi_query", target=f"{HEADS}.plain:MultiQuery"):
    """All heads share keys and values (Shazeer 2019)."""

    count: int = Field(gt=0, description="heads; divides the query's width")


class GroupedQuery(Heads, kind="grouped_query", target=f"{HEADS}.plain:GroupedQuery"):
    """Groups of heads share keys and values (Ainslie et al. 2023)."""

    count: int = Field(gt=0, description="heads; divides the query's width")
    groups: int = Field(gt=0, description="sets of keys and values; divides the heads")


class Talking(Heads, kind="talking", target=f"{HEADS}.mixing:Talking"):
    """Heads mix before and after the softmax (Shazeer et al. 2020)."""

    form = "mixed_logits"
    count: int = Field(gt=0, description="heads; divides the query's width")


class Differential(Heads, kind="differential", target=f"{HEADS}.mixing:Differential"):
    """One map minus lambda times another (Ye et al. 2024). Weights may be negative."""

    form = "mixed_weights"
    count: int = Field(gt=0, description="heads; twice this divides the query's width")
    initial: float = Field(gt=0, lt=1, description="lambda at the start of training")


class Gated(Heads, kind="gated", target=f"{HEADS}.plain:Gated"):
    """Each head's context passes a gate that the query sets (Qiu et al. 2025)."""

    count: int = Field(gt=0, description="heads; divides the query's width")


class ChannelGate(Heads, kind="channel_gate", target=f"{HEADS}.channel_gate:ChannelGate"):
    """One map over values whose channels are scaled first (Hu et al. 2018, SE; Woo et al. 2018)."""

    form = "channels"
    reduction: int = Field(gt=0, description="the gate's hidden layer is narrower by this factor")
    maximum: bool = Field(description="squeeze by mean and maximum (CBAM), not by mean alone (SE)")


class AttentionConfig(Section):
    """One mechanism."""

    name: str = Field(description="shown in run names and tables")
    score: Score
    normalizer: Normalizer
    structure: Structure
    position: Position
    heads: Heads
    kernel: str = Field(
        description="which implementation computes it: auto takes the fastest that can"
    )
    dropout: float = Field(ge=0, lt=1, description="share of weights dropped in training")


from attnlab.config.combinations import mistakes, usable_for  # noqa: E402

__all__ = ["AttentionConfig", "mistakes", "usable_for"]
