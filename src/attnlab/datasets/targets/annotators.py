"""Several opinions as one target, and a teacher model's map as an opinion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from attnlab.data.target import AttentionTarget, Flags


def agree(
    targets: Sequence[AttentionTarget], how: Literal["any", "most", "all", "mean"]
) -> AttentionTarget:
    """One target from several annotators of the same example; each one's own weights are kept.

    `any`, `most` and `all` count marks; `mean` is soft: the mean of the distributions. A row is
    annotated where somebody annotated it, and only those who did are asked.
    """
    asked = np.stack([t.query_mask for t in targets])[:, :, None]  # annotators x queries x 1
    many = np.maximum(asked.sum(0), 1)  # queries x 1
    first = replace(
        targets[0],
        query_mask=asked[:, :, 0].any(0),
        annotators=tuple(t.weights for t in targets),
        possible=None,
    )
    if how == "mean":
        shares = (np.stack([t.distribution() for t in targets]) * asked).sum(0) / many
        return replace(first, weights=shares.astype(np.float32), kind="soft")
    votes = (np.stack([t.weights > 0 for t in targets]) & asked).sum(0)  # queries x keys
    enough = {"any": votes >= 1, "most": 2 * votes > many, "all": votes >= many}[how]
    return replace(first, weights=enough.astype(np.float32), kind="hard")


def teacher_target(
    weights: npt.ArrayLike, query_mask: Flags | None = None, key_mask: Flags | None = None
) -> AttentionTarget:
    """A teacher's map: queries x keys, or heads x queries x keys, of which the mean is taken.

    The heads are kept as annotators. Rows in which the teacher looks at nothing do not count.
    """
    heads = np.asarray(weights, np.float32)
    heads = heads[None] if heads.ndim == 2 else heads  # heads x queries x keys
    mean = heads.mean(0)
    seen = mean.sum(1) > 0
    return AttentionTarget(
        weights=mean,
        query_mask=seen if query_mask is None else seen & query_mask,
        key_mask=np.ones(mean.shape[1], bool) if key_mask is None else key_mask,
        kind="soft",
        annotators=tuple(heads) if len(heads) > 1 else (),
    )
