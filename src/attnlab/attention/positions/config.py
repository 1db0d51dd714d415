"""Schemas of the positions. `conf/attention/position/*.yaml` holds the default values."""

from __future__ import annotations

from pydantic import Field

from attnlab.config.attention import Position

POSITIONS = "attnlab.attention.positions"


class NoPosition(Position, kind="none", target=f"{POSITIONS}.absolute:NoPosition"):
    """No positions."""

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
    one_axis = True
    reach: int = Field(gt=0, description="distances beyond this are as this")


class T5Bias(Position, kind="t5", target=f"{POSITIONS}.relative:T5Bias"):
    """A learned number for each bucket of distances (Raffel et al. 2020)."""

    one_axis = True
    buckets: int = Field(ge=4, description="buckets, half of them for keys after the query")
    reach: int = Field(gt=1, description="distances beyond this fall in the last bucket")


class Alibi(Position, kind="alibi", target=f"{POSITIONS}.relative:Alibi"):
    """-slope |i - j|, a slope for each head (Press, Smith, Lewis 2022)."""

    one_axis = True


class CosinePosition(Position, kind="cosine", target=f"{POSITIONS}.relative:Cosine"):
    """Scores of features times cos(pi/2 (i - j)/M) (Qin et al. 2022, cosFormer)."""

    form = "weighing"
    one_axis = True


class Rope(Position, kind="rope", target=f"{POSITIONS}.relative:Rope"):
    """Queries and keys rotated by their position (Su et al. 2021)."""

    form = "rotation"
    one_axis = True
    base: float = Field(gt=1, description="longest wavelength, in turns of 2 pi positions")


class TransformerXL(Position, kind="transformer_xl", target=f"{POSITIONS}.relative:TransformerXL"):
    """(q + u).k + (q + v).W r(i - j) (Dai et al. 2019)."""

    form = "inner_bias"
    one_axis = True
