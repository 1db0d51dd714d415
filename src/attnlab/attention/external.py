"""`ExternalAttention`: the attention of another library's model, observed and changed like our own.

That model makes queries, keys and values of every head, and the mask; what is done with them is
done here. So taps, probes, interventions and explanations work on it as they are, and while nobody
asks for a map the fastest kernel serves it.
"""

from __future__ import annotations

from torch import Tensor

from attnlab.attention.call import Call
from attnlab.attention.config import Global, NoPosition
from attnlab.attention.mask import Mask
from attnlab.attention.mechanism import Attention
from attnlab.attention.parts import Heads, Inputs, Shape
from attnlab.attention.scores_config import Dot, Softmax
from attnlab.config.attention import AttentionConfig
from attnlab.config.attention import Heads as HeadsConfig


class ExternalHeads(Heads):
    """Nothing is projected: that has been done."""

    def __init__(self, inputs: Inputs, *, count: int, groups: int) -> None:
        super().__init__(inputs)
        self.count = count
        width, value_width = inputs.query_dim, inputs.value_dim
        self.output_dim = count * value_width
        self.shape = Shape(inputs, count, groups, width, width, value_width)


class ExternalHeadsConfig(HeadsConfig, target=ExternalHeads):
    """No choice of a user's: whoever has the attention says how many heads there are."""

    count: int
    groups: int


class ExternalAttention(Attention):
    """Softmax attention over projected queries, keys and values."""

    def __init__(
        self, site: str, *, heads: int, groups: int, width: int, value_width: int, dropout: float
    ) -> None:
        config = AttentionConfig.model_construct(
            name="given",
            score=Dot(kind="dot"),
            normalizer=Softmax(kind="softmax"),
            structure=Global(kind="global"),
            position=NoPosition(kind="none"),
            heads=ExternalHeadsConfig(kind="given", count=heads, groups=groups),
            kernel="auto",
            dropout=dropout,
        )
        sizes = {"query_dim": width, "key_dim": width, "value_dim": value_width}
        super().__init__(config, **sizes, output_dim=None, site=site)

    def forward(  # type: ignore[override]  # what is given here is what our own would project
        self, query: Tensor, key: Tensor, value: Tensor, mask: Mask, bias: Tensor | None = None
    ) -> Tensor:
        """batch x heads x queries x width; all three are given as heads x length x width.

        Fewer queries than keys are the last ones, where queries and keys are one sequence.
        """
        start = key.shape[2] - query.shape[2] if self.role == "self" else 0
        call = Call(
            parts=self.parts,
            query_input=query,
            query_heads=query,
            query=query,
            key=key,
            value=value,
            mask=mask,
            start=start,
            dropout=self.dropout if self.training else 0.0,
            bias=bias,
        )
        call.kernel = self.kernels.choose(call)
        for observer in self.attached.observers:
            observer.record(call)
        return self.attend(call)
