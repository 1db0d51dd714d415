"""Every part and every named mechanism that `conf/attention` holds, and combinations of them.

Nothing is listed here by name: a part added to the package and to `conf/` is tested by itself.
"""

from __future__ import annotations

import functools
import itertools
import random
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from attnlab.attention.mask import Mask
from attnlab.attention.mechanism import Attention
from attnlab.config.attention import AttentionConfig
from attnlab.config.combinations import PARTS, broken, chosen_forms, is_recurrent, usable_for

CONF = Path(__file__).parents[2] / "conf" / "attention"
DIM = 16
Names = tuple[str, ...]  # one choice for each of PARTS

NAMED = sorted(path.stem for path in CONF.glob("*.yaml"))


def choices(part: str) -> list[str]:
    """The choices of a part, as on the command line."""
    return sorted(path.stem for path in (CONF / part).glob("*.yaml"))


@functools.cache
def _settings(part: str, name: str) -> dict[str, Any]:
    return yaml.safe_load((CONF / part / f"{name}.yaml").read_text())


def combined(names: Names, **changes: Any) -> AttentionConfig:
    """The mechanism of these parts."""
    parts = {part: _settings(part, name) for part, name in zip(PARTS, names, strict=True)}
    rest = {"name": "-".join(names), "kernel": "auto", "dropout": 0.0}
    return AttentionConfig.model_validate({**parts, **rest, **changes})


def plain(name: str) -> dict[str, Any]:
    """The settings of a mechanism of `conf/attention`, composed by hand as Hydra would."""
    own = yaml.safe_load((CONF / f"{name}.yaml").read_text())
    chosen = {k: v for d in own.pop("defaults") if d != "_self_" for k, v in d.items()}
    for part in PARTS:
        own[part] = {**_settings(part, chosen[part]), **own.get(part, {})}
    return own


def named(name: str, **changes: Any) -> AttentionConfig:
    """A mechanism of `conf/attention`."""
    return AttentionConfig.model_validate({**plain(name), **changes})


@functools.cache
def legal(names: Names) -> bool:
    return not any(broken(chosen_forms(combined(names))))


@functools.cache
def pairwise() -> list[Names]:
    """Combinations that hold every legal pair of choices, and each named mechanism's parts."""
    dice = random.Random(0)
    options = [choices(part) for part in PARTS]
    missing = {
        ((i, a), (j, b))
        for i, j in itertools.combinations(range(len(PARTS)), 2)
        for a in options[i]
        for b in options[j]
    }
    found: list[Names] = []
    for pair in sorted(missing):
        if pair not in missing:
            continue
        best = max(
            _completions(pair, options, dice), key=lambda c: len(_pairs(c) & missing), default=None
        )
        if best is not None:
            found.append(best)
            missing -= _pairs(best)
    return found


def _completions(pair: Any, options: list[list[str]], dice: random.Random) -> list[Names]:
    """Some legal combinations that hold a pair: the plainest one, and random ones."""
    plain = ["scaled_dot", "softmax", "global", "none", "multi"]
    drawn = [plain] + [[dice.choice(o) for o in options] for _ in range(30)]
    for names in drawn:
        for place, name in pair:
            names[place] = name
    return [tuple(n) for n in drawn if legal(tuple(n))]


def _pairs(names: Names) -> set[Any]:
    return set(itertools.combinations(enumerate(names), 2))


def roles(config: AttentionConfig) -> list[str]:
    """Where a mechanism can be used: `self`, `causal`, `cross`."""
    return [r for r in ("self", "causal") if not usable_for(config, "", {r})] + ["cross"]


def attention(config: AttentionConfig, role: str = "cross", seed: int = 0) -> Attention:
    """A small one in float64 and evaluation mode, with parameters away from their zeros."""
    torch.manual_seed(seed)
    site = "decoder.cross.0" if role == "cross" else "encoder.self.0"
    dims = {"query_dim": DIM, "key_dim": DIM, "value_dim": DIM}
    built = Attention(config, **dims, output_dim=None, site=site, max_length=32).double().eval()
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return built


def inputs(role: str, queries: int = 4, keys: int = 6, batch: int = 2) -> tuple[Tensor, Tensor]:
    """Queries and keys in float64; the same tensor where attention is to oneself."""
    torch.manual_seed(1)
    key = torch.randn(batch, keys, DIM, dtype=torch.float64)
    if role != "cross":
        return key, key
    return torch.randn(batch, queries, DIM, dtype=torch.float64), key


def role_mask(role: str, **fields: Any) -> Mask:
    """A mask with what the role asks for."""
    return Mask(causal=role == "causal", **fields)


def is_deterministic(config: AttentionConfig) -> bool:
    """Whether small changes of the input change the map little (and gradients tell how)."""
    return config.normalizer.kind not in ("gumbel", "reinforce", "hard_kuma")


def is_signed(config: AttentionConfig) -> bool:
    """Whether weights may be negative: differences, mixtures and approximations of maps."""
    return config.heads.form.startswith("mixed") or config.structure.form == "landmarks"


__all__ = [
    "DIM",
    "NAMED",
    "Names",
    "attention",
    "choices",
    "combined",
    "inputs",
    "is_deterministic",
    "is_recurrent",
    "is_signed",
    "legal",
    "named",
    "pairwise",
    "role_mask",
    "roles",
]
