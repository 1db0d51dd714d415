"""Schemas of kernels: what each can serve, and where it runs."""

from __future__ import annotations

from attnlab.config.attention import Kernel
from attnlab.config.combinations import INNER, MASKS, POSITIVE, SPLIT, forms

KERNELS = "attnlab.attention.kernels"


class Reference(Kernel, kind="reference", target="attnlab.attention.call:Kernel"):
    """The formula, with the logits in memory."""


class AdditiveKernel(Kernel, kind="additive", target=f"{KERNELS}.additive:AdditiveKernel"):
    """No queries x keys x hidden tensor: C on the CPU, Triton on CUDA, a loop elsewhere."""

    serves = forms(score="additive")


class Sdpa(Kernel, kind="sdpa", target=f"{KERNELS}.fused:Sdpa"):
    """`scaled_dot_product_attention`, for inner products of prepared sides."""

    serves = forms(
        score=INNER, normalizer="softmax", structure=MASKS, heads=f"{SPLIT} mixed_weights"
    )


class Sparse(Kernel, kind="sparse", target=f"{KERNELS}.block_sparse:BlockSparse"):
    """Blocks of keys that no query of a block may attend to are skipped: C on the CPU."""

    serves = {**Sdpa.serves} | forms(position="none absolute rotation", structure=f"{MASKS} chosen")
    devices = frozenset({"cpu"})
    drops_weights = False


class Flex(Kernel, kind="flex", target=f"{KERNELS}.fused:Flex"):
    """FlexAttention: blocks that no query may attend to are skipped."""

    serves = {**Sdpa.serves} | forms(position="none absolute rotation")
    devices = frozenset({"cuda"})
    drops_weights = False


class LinearKernel(Kernel, kind="linear", target="attnlab.attention.linear_time:LinearKernel"):
    """Values are summed by keys first, in time linear in the length."""

    serves = forms(score=POSITIVE, normalizer="proportion", structure="global causal", heads=SPLIT)
    drops_weights = False


class NystromKernel(Kernel, kind="nystrom", target="attnlab.attention.linear_time:NystromKernel"):
    """Landmarks: three thin products."""

    serves = forms(structure="landmarks")
    drops_weights = False
