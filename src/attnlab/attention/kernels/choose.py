"""Which kernel serves a call: what the table says it can, and what was measured to be faster."""

from __future__ import annotations

import functools
import json
import math
import sys
from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field, TypeAdapter

from attnlab.attention.call import Call, Kernel
from attnlab.attention.kernels.native import cache_dir
from attnlab.config.attention import AttentionConfig
from attnlab.config.combinations import kernels, kernels_for
from attnlab.errors import UserError
from attnlab.text_files import DamagedFileError, damage_reported, read_json

# Of the reference's time. Timed alone, its weights stay in the cache; in a step that projects and
# normalises as well they do not, so it has to be faster by more than that to be taken.
AS_FAST = 1.25

SHIPPED = Path(__file__).with_name("measured.json")
FORMAT = 3  # figures kept in another are measured anew when the user wants them


Number = Annotated[str, Field(pattern=r"^[1-9]\d{0,9}$")]
Lengths = Annotated[dict[Number, Annotated[float, Field(ge=0)]], Field(min_length=1)]
# device -> kernel -> case -> tokens of a batch -> length -> time over the reference's
Ratios = dict[str, dict[str, dict[str, dict[Number, Lengths]]]]


@functools.cache
def implementation(name: str) -> Kernel:
    """The kernel of this name."""
    return kernels()[name].model_construct(kind=name).build()


class KernelChoice:
    """The kernels that can serve one mechanism, and the choice among them call by call."""

    def __init__(self, config: AttentionConfig) -> None:
        names = kernels_for(config)
        self.names = [name for name in reversed(names) if name != "reference"]
        # a kernel for what one role leaves out (landmarks, say) is not meant for that role
        self.forced = config.kernel if config.kernel in names else None

    def choose(self, call: Call) -> Kernel:
        """The forced kernel, or the one expected to be fastest."""
        if self.forced is not None:
            return implementation(self.forced)
        expected = {
            name: _expected(name, call)
            for name in self.names
            if _obstacle(name, call) is None and implementation(name).worthwhile(call)
        }
        fastest = min(expected, key=lambda name: expected[name], default="reference")
        if expected.get(fastest, 0.0) > AS_FAST:
            fastest = "reference"
        return implementation(fastest)

    def products(self, call: Call) -> bool:
        """Whether each map is softmax of products of its own queries and keys and of a mask."""
        parts = call.parts
        alone = "sparse" in self.names and not parts.heads.mixes_weights
        alone = alone and parts.structure.block_size is None  # whose choice is of all maps at once
        return alone and parts.normalizer.extra_logit() is None and call.position_bias is None

    def check(self, call: Call, site: str) -> None:
        """Raise `UserError` where a kernel was forced that cannot serve the call."""
        if self.forced is None:
            return
        obstacle = _obstacle(self.forced, call)
        if obstacle is not None:
            others = [name for name in ("auto", "reference") if name != self.forced]
            raise UserError(
                f"attention.kernel={self.forced} cannot serve {site or 'this call'}: {obstacle}; "
                f"allowed: {', '.join(others)}"
            )


def _obstacle(name: str, call: Call) -> str | None:
    """Why a kernel cannot serve a call, as its device or its mask stand."""
    schema, device = kernels()[name], call.query.device.type
    if device not in schema.devices:
        return f"it runs on {' and '.join(sorted(schema.devices))}, not on {device}"
    if call.dropout and not schema.drops_weights:
        return "it drops no weights"
    return implementation(name).obstacle(call)


def _expected(name: str, call: Call) -> float:
    """The time over the reference's, as measured; what was not measured counts as no time."""
    training = "train" if torch.is_grad_enabled() else "infer"
    share, device = implementation(name).share(call), call.query.device.type
    length, tokens = math.sqrt(call.queries * call.keys), len(call.query) * call.queries

    def ratio(case: str) -> float:
        found = curve(device, name, f"{training}-{case}", tokens)
        return 0.0 if found is None else found.ratio(length)

    if share is None:
        return ratio(call.mask_case)
    least = ratio("none")
    return least + share * (ratio("all") - least)


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
    return cache_dir() / "measured.json"


@functools.cache
def curve(device: str, kernel: str, case: str, tokens: int) -> Curve | None:
    """The curve of a kernel in a case (`train-causal`, say) for batches of about so many tokens.

    A case that was not measured for it is taken for the one with padding. The size of a batch
    counts: weights that leave the processor's cache cost the reference most.
    """
    cases = _figures().get(device, {}).get(kernel, {})
    sizes = cases.get(case) or cases.get(f"{case.partition('-')[0]}-masked")
    if not sizes:
        return None
    nearest = min(sizes, key=lambda size: abs(math.log(int(size) / max(tokens, 1))))
    ratios = sizes[nearest]
    lengths = sorted(int(length) for length in ratios)
    return Curve(tuple(lengths), tuple(ratios[str(length)] for length in lengths))


@functools.cache
def _figures() -> Ratios:
    """Those of this machine, or of this package."""
    path = cached_path()
    if path.exists():
        try:
            kept = read_json(path, f"rm {path}", dict[str, Any])
            if kept.get("format") == FORMAT:
                with damage_reported(path, f"rm {path}"):
                    return TypeAdapter(Ratios).validate_python(kept["ratios"])
        except DamagedFileError as error:
            print(f"{error}; the figures of this package are used", file=sys.stderr)
    return json.loads(SHIPPED.read_text())["ratios"]
