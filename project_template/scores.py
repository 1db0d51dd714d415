"""A score of one's own: how well a query and a key go together."""

from attnlab.attention.parts import Score
from attnlab.config.section import register


@register("score", "sharp")
class Sharp(Score):
    """Scaled dot product, sharpened."""

    def __init__(self, shape, *, factor: float) -> None:
        super().__init__(shape)
        self.factor = factor

    def forward(self, query, key):
        # batch x heads x queries x width, batch x heads x keys x width -> ... x queries x keys
        return self.factor * query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
