"""Measured times: where one kernel overtakes another on this kind of machine.

The figures shipped with the package are a file beside this; `python -m
attnlab.attention.kernels.measure` measures the machine at hand and puts its figures in the cache
folder, where they are found first.
"""

from __future__ import annotations

import functools
import json
import math
import os
from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path

SHIPPED = Path(__file__).with_name("measured.json")
FORMAT = 2  # figures kept in another are measured anew when the user wants them


@dataclass(frozen=True)
class Curve:
    """Time of a kernel over that of the reference, at some lengths."""

    lengths: tuple[int, ...]  # geometric mean of queries and keys
    ratios: tuple[float, ...]

    def ratio(self, length: float) -> float:
        """The ratio at a length, interpolated on a logarithmic scale."""
        if length <= self.lengths[0]:
            return self.ratios[0]
        if length >= self.lengths[-1]:
            return self.ratios[-1]
        after = bisect_left(self.lengths, length)
        low, high = self.lengths[after - 1], self.lengths[after]
        share = math.log(length / low) / math.log(high / low)
        return self.ratios[after - 1] * (1 - share) + self.ratios[after] * share


def cached_path() -> Path:
    """Where figures of this machine are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "attnlab" / "measured.json"


@functools.cache
def curve(device: str, kernel: str, case: str, tokens: int) -> Curve | None:
    """The curve of a kernel in a case (`train-masked`, say) for batches of about so many tokens.

    The size of a batch counts: weights that leave the processor's cache cost the reference most.
    """
    sizes = _figures().get(device, {}).get(kernel, {}).get(case)
    if not sizes:
        return None
    nearest = min(sizes, key=lambda size: abs(math.log(int(size) / max(tokens, 1))))
    ratios = sizes[nearest]
    lengths = sorted(int(length) for length in ratios)
    return Curve(tuple(lengths), tuple(ratios[str(length)] for length in lengths))


@functools.cache
def _figures() -> dict[str, dict[str, dict[str, dict[str, dict[str, float]]]]]:
    """device -> kernel -> case -> tokens of a batch -> length -> ratio."""
    if cached_path().exists():
        kept = json.loads(cached_path().read_text())
        if kept.get("format") == FORMAT:
            return kept["ratios"]
    return json.loads(SHIPPED.read_text())["ratios"]
