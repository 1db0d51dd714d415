"""Who looks where: the structures, positions and heads that a mechanism can have."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from attnlab.config.section import Variant

STRUCTURES = "attnlab.attention.structures"
POSITIONS = "attnlab.attention.positions"
HEADS = "attnlab.attention.heads"


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


class LocalP(Structure, kind="local_p", target=f"{STRUCTURES}.weighting:LocalP"):
    """A Gaussian round a place that the query predicts (Luong, Pham, Manning 2015, local-p)."""

    form = "reweighted"
    width: int = Field(gt=0, description="keys seen on each side; two standard deviations")


class Coverage(Structure, kind="coverage", target=f"{STRUCTURES}.weighting:Coverage"):
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


class Rope(Position, kind="rope", target=f"{POSITIONS}.relative:Rope"):
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
