"""Schemas of the kernels: which mechanisms each can serve, and on which devices."""

from __future__ import annotations

from attnlab.config.attention import Kernel
from attnlab.config.combinations import INNER, MASKS, POSITIVE, SPLIT, forms

KERNELS = "attnlab.attention.kernels"


class Reference(Kernel, kind="reference", target="attnlab.attention.call:Kernel"):
    """The formula, with the logits in memory."""


class Additive(Kernel, kind="additive", target=f"{KERNELS}.additive:AdditiveKernel"):
    """No queries x keys x hidden tensor: C on the CPU, Triton on CUDA, a loop elsewhere."""

    serves = forms(score="additive")


class Sdpa(Kernel, kind="sdpa", target=f"{KERNELS}.fused:Sdpa"):
    """`scaled_dot_product_attention`, for inner products of prepared sides."""

    serves = forms(
        score=INNER, normalizer="softmax", structure=MASKS, heads=f"{SPLIT} mixed_weights"
    )


class Flex(Kernel, kind="flex", target=f"{KERNELS}.fused:Flex"):
    """FlexAttention: blocks that no query may attend to are skipped."""

    serves = {**Sdpa.serves} | forms(position="none absolute rotation")
    devices = frozenset({"cuda"})
    drops_weights = False


class Linear(Kernel, kind="linear", target=f"{KERNELS}.linear_time:LinearKernel"):
    """Values are summed by keys first, in time linear in the length."""

    serves = forms(score=POSITIVE, normalizer="proportion", structure="global causal", heads=SPLIT)
    drops_weights = False


class Nystrom(Kernel, kind="nystrom", target=f"{KERNELS}.linear_time:NystromKernel"):
    """Landmarks: three thin products."""

    serves = forms(structure="landmarks")
    drops_weights = False
