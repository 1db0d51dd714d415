"""Schemas of the structures. `conf/attention/structure/*.yaml` holds the default values."""

from __future__ import annotations

from pydantic import Field

from attnlab.config.attention import Structure

STRUCTURES = "attnlab.attention.structures"


class Global(Structure, kind="global", target=f"{STRUCTURES}.patterns:Global"):
    """Every key."""

    form = "global"


class CausalStructure(Structure, kind="causal", target=f"{STRUCTURES}.patterns:CausalStructure"):
    """No key after the query."""

    form = "causal"
    one_axis = True


class Window(Structure, kind="window", target=f"{STRUCTURES}.patterns:WindowStructure"):
    """Keys near the query's own position (Luong et al. 2015, local-m; Beltagy et al. 2020)."""

    form = "pattern"
    left: int = Field(ge=0, description="keys allowed before the query's position")
    right: int = Field(ge=0, description="keys allowed after the query's position")


class Dilated(Structure, kind="dilated", target=f"{STRUCTURES}.patterns:DilatedStructure"):
    """Every n-th key of a window (Beltagy et al. 2020)."""

    form = "pattern"
    one_axis = True
    reach: int = Field(gt=0, description="keys allowed on each side")
    step: int = Field(gt=0, description="distance between two of them")


class Strided(Structure, kind="strided", target=f"{STRUCTURES}.patterns:StridedStructure"):
    """The last keys, and every n-th before them (Child et al. 2019)."""

    form = "pattern"
    one_axis = True
    from_row_start = True
    stride: int = Field(gt=0, description="both the window and the distance beyond it")


class Block(Structure, kind="block", target=f"{STRUCTURES}.patterns:BlockStructure"):
    """Keys of the query's own block and its neighbours (Qiu et al. 2020)."""

    form = "pattern"
    one_axis = True
    from_row_start = True
    size: int = Field(gt=0, description="positions in a block")
    neighbours: int = Field(ge=0, description="blocks allowed on each side of one's own")


class BigBird(Structure, kind="bigbird", target=f"{STRUCTURES}.patterns:BigBirdStructure"):
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


class LocalP(Structure, kind="local_p", target=f"{STRUCTURES}.weighting:LocalP"):
    """A Gaussian round a position that the query predicts (Luong, Pham, Manning 2015, local-p)."""

    form = "reweighted"
    width: int = Field(gt=0, description="keys allowed on each side; two standard deviations")


class Coverage(Structure, kind="coverage", target=f"{STRUCTURES}.weighting:Coverage"):
    """Logits depend on the sum of earlier maps (Tu et al. 2016, See et al. 2017)."""

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
    one_axis = True
    landmarks: int = Field(gt=0, description="means of queries and keys that represent all")
