"""Maps as short text, so that a page can hold hundreds of them.

Weights are kept as whole numbers on a square-root scale, so that small weights keep their order:
weight = peak * (number / greatest) ** 2, with 8 bits for pictures of heads, 16 for figures that
are read. The page unpacks them with `DecompressionStream`.
"""

from __future__ import annotations

import base64
import zlib
from typing import Literal, TypedDict

import numpy as np
import numpy.typing as npt

Bits = Literal[8, 16]


class Packed(TypedDict):
    """An array of non-negative weights."""

    shape: list[int]
    bits: Bits
    peak: float
    data: str  # deflated, base64


def pack(weights: npt.ArrayLike, bits: Bits = 16) -> Packed:
    """The array as text; NaN becomes zero."""
    array = np.nan_to_num(np.asarray(weights, np.float64)).clip(0)
    peak = float(array.max(initial=0.0))
    greatest = 2**bits - 1
    numbers = np.rint(np.sqrt(array / (peak or 1.0)) * greatest).astype(f"<u{bits // 8}")
    data = base64.b64encode(zlib.compress(numbers.tobytes(), 9)).decode()
    return {"shape": list(array.shape), "bits": bits, "peak": round(peak, 6), "data": data}


def unpack(packed: Packed) -> npt.NDArray[np.float64]:
    """The weights of a packed array, up to rounding."""
    raw = zlib.decompress(base64.b64decode(packed["data"]))
    numbers = np.frombuffer(raw, f"<u{packed['bits'] // 8}").reshape(packed["shape"])
    return packed["peak"] * (numbers / (2 ** packed["bits"] - 1)) ** 2
