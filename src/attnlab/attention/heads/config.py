"""Schemas of the heads. `conf/attention/heads/*.yaml` holds the default values."""

from __future__ import annotations

from pydantic import Field

from attnlab.config.attention import Heads

HEADS = "attnlab.attention.heads"


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
