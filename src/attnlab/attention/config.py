"""Schemas of structures, positions and heads. `conf/attention/` holds the defaults."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field

from attnlab.config.attention import Heads, Position, Structure
from attnlab.errors import Mistake

STRUCTURES = "attnlab.attention.structures"

POSITIONS = "attnlab.attention.positions"

HEADS = "attnlab.attention.heads"


class Global(Structure, kind="global", target=f"{STRUCTURES}:Global"):
    """Every key."""

    form = "global"


class CausalStructure(Structure, kind="causal", target=f"{STRUCTURES}:CausalStructure"):
    """No key after the query."""

    form = "causal"
    one_axis = True


class Window(Structure, kind="window", target=f"{STRUCTURES}:WindowStructure"):
    """Keys near the query's own position (Luong et al. 2015, local-m; Beltagy et al. 2020)."""

    form = "pattern"
    left: int = Field(ge=0, description="keys allowed before the query's position")
    right: int = Field(ge=0, description="keys allowed after the query's position")


class Dilated(Structure, kind="dilated", target=f"{STRUCTURES}:DilatedStructure"):
    """Every n-th key of a window (Beltagy et al. 2020)."""

    form = "pattern"
    one_axis = True
    reach: int = Field(gt=0, description="keys allowed on each side")
    step: int = Field(gt=0, description="distance between two of them")


class Strided(Structure, kind="strided", target=f"{STRUCTURES}:StridedStructure"):
    """The last keys, and every n-th before them (Child et al. 2019)."""

    form = "pattern"
    one_axis = True
    from_row_start = True
    stride: int = Field(gt=0, description="both the window and the distance beyond it")


class Block(Structure, kind="block", target=f"{STRUCTURES}:BlockStructure"):
    """Keys of the query's own block and its neighbours (Qiu et al. 2020)."""

    form = "pattern"
    one_axis = True
    from_row_start = True
    size: int = Field(gt=0, description="positions in a block")
    neighbours: int = Field(ge=0, description="blocks allowed on each side of one's own")


class BigBird(Structure, kind="bigbird", target=f"{STRUCTURES}:BigBirdStructure"):
    """Window, global keys and random blocks (Zaheer et al. 2020)."""

    form = "pattern"
    one_axis = True
    from_row_start = True
    block: int = Field(gt=0, description="positions in a block")
    window: int = Field(ge=0, description="blocks allowed on each side")
    global_blocks: int = Field(
        ge=0, description="blocks at the start, which attend to all and are open to all"
    )
    random_blocks: int = Field(ge=0, description="blocks that each block picks at random")
    seed: int = Field(ge=0, description="of the random blocks")


class LocalP(Structure, kind="local_p", target=f"{STRUCTURES}:LocalP"):
    """A Gaussian round a position that the query predicts (Luong, Pham, Manning 2015, local-p)."""

    form = "reweighted"
    width: int = Field(gt=0, description="keys allowed on each side; two standard deviations")


class Coverage(Structure, kind="coverage", target=f"{STRUCTURES}:Coverage"):
    """Logits depend on the sum of earlier maps (Tu et al. 2016, See et al. 2017)."""

    form = "recurrent"
    initial: float = Field(description="what a unit of past attention adds to the logit at first")


class Hierarchical(Structure, kind="hierarchical", target=f"{STRUCTURES}:Hierarchical"):
    """Attention over segments times attention within each (Yang et al. 2016, HAN)."""

    form = "nested"
    segment: int = Field(gt=0, description="keys in a segment, where the batch names no segments")


class Predicted(Structure, kind="predicted", target="attnlab.attention.predicted:Predicted"):
    """Blocks of keys that a light predictor chooses for each head and block of queries."""

    form = "chosen"
    one_axis = True
    from_row_start = True
    by: Literal["learned", "indexer", "bounds", "means", "random", "nearest", "mass"] = Field(
        description="learned, from blocks as a whole; indexer: learned, from each position; bounds "
        "of logits (Quest); means of keys (MoBA); random; nearest (with sink: a sink and a "
        "window); mass of the dense map, an oracle that saves no time"
    )
    block: int = Field(ge=16, le=128, multiple_of=16, description="positions of a block")
    density: float = Field(gt=0, le=1, description="largest share of the allowed blocks to read")
    mass: float | None = Field(
        gt=0, lt=1, description="within it, no more blocks than hold this share of predicted mass"
    )
    sink: int = Field(ge=0, description="blocks at the start that are always read")
    local: int = Field(ge=0, description="always read: 1 is the own block, 2 its neighbours too")
    width: int = Field(gt=0, description="width of what the predictor compares, for each head")
    index_heads: int = Field(gt=0, description="heads of by=indexer, which share their keys")
    dense_steps: int = Field(
        ge=0, description="training steps that read all blocks, while the predictor learns of them"
    )
    selection: Literal["detached", "straight"] = Field(
        description="whether its own losses alone train the predictor, or the task's does, too, "
        "straight through the choice, which has logits of all pairs in memory while training"
    )

    def mistakes(self, config: Any) -> Iterator[Mistake]:
        yield from super().mistakes(config)
        trained = any(term.trains_blocks for term in config.objective.terms.values())
        learns = self.by in ("learned", "indexer")
        if learns and self.selection == "detached" and not trained:
            ways = "'objective/terms=[block_distillation]', [block_gold] or both"
            yield Mistake(".by", "no loss trains the predictor", f"try: {ways}; or by=means")


class Nystrom(Structure, kind="nystrom", target="attnlab.attention.linear_time:Nystrom"):
    """Softmax attention through a few landmarks, in linear time (Xiong et al. 2021)."""

    form = "landmarks"
    one_axis = True
    landmarks: int = Field(gt=0, description="means of queries and keys that represent all")


class NoPosition(Position, kind="none", target=f"{POSITIONS}:NoPosition"):
    """No positions."""

    form = "none"


class Sinusoidal(Position, kind="sinusoidal", target=f"{POSITIONS}:Sinusoidal"):
    """Sines and cosines added to queries and keys (Vaswani et al. 2017)."""

    form = "absolute"


class LearnedPosition(Position, kind="learned", target=f"{POSITIONS}:LearnedPosition"):
    """A learned vector for each position, added to queries and keys (Gehring et al. 2017)."""

    form = "absolute"


class Shaw(Position, kind="shaw", target=f"{POSITIONS}:Shaw"):
    """q.a(j - i), learned for each distance (Shaw, Uszkoreit, Vaswani 2018)."""

    form = "inner_bias"
    one_axis = True
    reach: int = Field(gt=0, description="distances beyond this are as this")


class T5Bias(Position, kind="t5", target=f"{POSITIONS}:T5Bias"):
    """A learned number for each bucket of distances (Raffel et al. 2020)."""

    one_axis = True
    buckets: int = Field(ge=4, description="buckets, half of them for keys after the query")
    reach: int = Field(gt=1, description="distances beyond this fall in the last bucket")


class Alibi(Position, kind="alibi", target=f"{POSITIONS}:Alibi"):
    """-slope |i - j|, a slope for each head (Press, Smith, Lewis 2022)."""

    one_axis = True


class CosinePosition(Position, kind="cosine", target=f"{POSITIONS}:Cosine"):
    """Scores of features times cos(pi/2 (i - j)/M) (Qin et al. 2022, cosFormer)."""

    form = "weighing"
    one_axis = True


class Rope(Position, kind="rope", target=f"{POSITIONS}:Rope"):
    """Queries and keys rotated by their position (Su et al. 2021)."""

    form = "rotation"
    one_axis = True
    base: float = Field(gt=1, description="longest wavelength, in turns of 2 pi positions")
    scaling: Literal["none", "linear", "ntk", "yarn"] = Field(
        description="how frequencies fall for texts that are longer than those of training: all "
        "alike; low ones more, by a larger base; or low ones alone, with sharper logits"
    )
    factor: float = Field(
        ge=1, description="how many times longer; with scaling=none without effect"
    )
    trained_length: int = Field(
        gt=0, description="positions of the texts of training; of yarn alone"
    )


class TransformerXL(Position, kind="transformer_xl", target=f"{POSITIONS}:TransformerXL"):
    """(q + u).k + (q + v).W r(i - j) (Dai et al. 2019)."""

    form = "inner_bias"
    one_axis = True


class One(Heads, kind="one", target=f"{HEADS}:One"):
    """One map over the inputs as they are, without projections."""


class Multi(Heads, kind="multi", target=f"{HEADS}:Multi"):
    """Each head projects queries, keys and values (Vaswani et al. 2017)."""

    count: int = Field(gt=0, description="heads; divides the query's width")


class MultiQuery(Heads, kind="multi_query", target=f"{HEADS}:MultiQuery"):
    """All heads share keys and values (Shazeer 2019)."""

    count: int = Field(gt=0, description="heads; divides the query's width")


class GroupedQuery(Heads, kind="grouped_query", target=f"{HEADS}:GroupedQuery"):
    """Groups of heads share keys and values (Ainslie et al. 2023)."""

    count: int = Field(gt=0, description="heads; divides the query's width")
    groups: int = Field(gt=0, description="sets of keys and values; divides the heads")


class Talking(Heads, kind="talking", target=f"{HEADS}:Talking"):
    """Heads mix before and after the softmax (Shazeer et al. 2020)."""

    form = "mixed_logits"
    count: int = Field(gt=0, description="heads; divides the query's width")


class Differential(Heads, kind="differential", target=f"{HEADS}:Differential"):
    """One map minus lambda times another (Ye et al. 2024). Weights may be negative."""

    form = "mixed_weights"
    count: int = Field(gt=0, description="heads; twice this divides the query's width")
    initial: float = Field(gt=0, lt=1, description="lambda at the start of training")


class Gated(Heads, kind="gated", target=f"{HEADS}:Gated"):
    """Each head's context passes a gate that the query sets (Qiu et al. 2025)."""

    count: int = Field(gt=0, description="heads; divides the query's width")


class ChannelGate(Heads, kind="channel_gate", target=f"{HEADS}:ChannelGate"):
    """One map over values whose channels are scaled first (Hu et al. 2018, SE; Woo et al. 2018)."""

    form = "channels"
    reduction: int = Field(gt=0, description="the gate's hidden layer is narrower by this factor")
    maximum: bool = Field(description="squeeze by mean and maximum (CBAM), not by mean alone (SE)")
