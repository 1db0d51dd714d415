"""Schemas of the normalizers. `conf/attention/normalizer/*.yaml` holds the default values."""

from __future__ import annotations

from pydantic import Field

from attnlab.config.attention import Normalizer

NORMALIZERS = "attnlab.attention.normalizers"


class Softmax(Normalizer, kind="softmax", target=f"{NORMALIZERS}.soft:Softmax"):
    """exp(s) / sum exp(s)."""

    form = "softmax"


class OffByOne(Normalizer, kind="off_by_one", target=f"{NORMALIZERS}.soft:OffByOne"):
    """exp(s) / (1 + sum exp(s)): a query may attend to nothing (Miller 2023)."""

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

    keep: int = Field(gt=0, description="keys that a query attends to")


class Gumbel(Normalizer, kind="gumbel", target=f"{NORMALIZERS}.hard:Gumbel"):
    """One key: sampled while training with straight-through gradients (Jang et al. 2017)."""

    temperature: float = Field(gt=0, description="of the softmax that carries the gradient")


class Reinforce(Normalizer, kind="reinforce", target=f"{NORMALIZERS}.hard:Reinforce"):
    """One key: sampled while training, learned by REINFORCE (Xu et al. 2015, Williams 1992)."""


class HardKuma(Normalizer, kind="hard_kuma", target=f"{NORMALIZERS}.gates:HardKuma"):
    """A gate for each key, sampled open, shut or in between (Bastings, Aziz, Titov 2019)."""

    stretch: float = Field(
        gt=0, le=1, description="how far beyond 0 and 1 a gate may be sampled before it is cut off"
    )


class Monotonic(Normalizer, kind="monotonic", target=f"{NORMALIZERS}.monotonic:Monotonic"):
    """The chance to stop at each key, onwards from the last query (Raffel et al. 2017)."""

    form = "recurrent"
    noise: float = Field(ge=0, description="noise on the logits in training, to make them decided")
    bias: float = Field(description="logit of stopping at the start of training")
