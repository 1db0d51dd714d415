"""Which parts go together, and which kernel serves them: tables, and what reads them.

Every part has a `form` (in `attention`); the tables go by forms, so that a plugin's part is
covered by the form of its slot ("other": the reference kernel alone) or the `form` that its own
class states. Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from attnlab.config.section import SLOTS, Variant
from attnlab.errors import Mistake, suggest

if TYPE_CHECKING:
    from attnlab.config.attention import AttentionConfig

PARTS = ("score", "normalizer", "structure", "position", "heads")


@dataclass(frozen=True)
class Rule:
    """Where one part has one of these forms, another must have one of those."""

    part: str
    forms: frozenset[str]
    other: str
    allowed: frozenset[str]
    reason: str


def _rule(part: str, forms: str, other: str, allowed: str, reason: str) -> Rule:
    return Rule(part, frozenset(forms.split()), other, frozenset(allowed.split()), reason)


SPLIT = "split channels"  # heads whose maps stay as the normalizer made them
PLAIN = "pattern causal"  # structures that are a mask and nothing else

RULES = (
    _rule("position", "rotation", "score", "inner metric", "it turns what is compared"),
    _rule("position", "inner_bias", "score", "inner", "it adds to an inner product"),
    _rule("position", "bias", "score", "inner metric projected additive recurrent other", "it is added to logits of pairs"),
    _rule("position", "absolute", "score", "inner metric projected additive recurrent features other", "the score sees no positions"),
    _rule("score", "features", "normalizer", "proportion", "its scores are positive parts of a whole"),
    _rule("normalizer", "proportion", "score", "features", "it needs scores that are never negative"),
    _rule("score", "features", "structure", f"{PLAIN} other", "its scores are no logits"),
    _rule("score", "features", "heads", SPLIT, "mixing would make its scores negative"),
    _rule("score", "recurrent", "heads", SPLIT, "the past of mixed maps is not its own"),
    _rule("score", "recurrent", "structure", f"{PLAIN} reweighted recurrent other", "it goes query by query"),
    _rule("normalizer", "recurrent", "heads", SPLIT, "the past of mixed maps is not its own"),
    _rule("normalizer", "recurrent", "structure", "pattern recurrent other", "it goes from key to key"),
    _rule("structure", "recurrent", "heads", SPLIT, "the past of mixed maps is not its own"),
    _rule("structure", "landmarks", "score", "inner metric projected", "landmarks are means of what an inner product compares"),
    _rule("structure", "landmarks", "normalizer", "softmax", "it approximates softmax"),
    _rule("structure", "landmarks", "position", "none absolute rotation", "the logits are never made"),
    _rule("structure", "landmarks", "heads", SPLIT, "the logits are never made"),
    _rule("structure", "nested", "score", "inner metric projected additive blind other", "it scores segments and keys"),
    _rule("structure", "nested", "normalizer", "softmax free other", "it normalizes segments and keys"),
    _rule("structure", "nested", "position", "none absolute", "segments have no distance"),
    _rule("structure", "nested", "heads", SPLIT, "segments are scored before heads mix"),
)  # fmt: skip


@dataclass(frozen=True)
class Kernel:
    """What one implementation can serve. An empty set of forms means all."""

    name: str
    serves: Mapping[str, frozenset[str]]
    devices: frozenset[str] = frozenset({"cpu", "cuda"})
    drops_weights: bool = True  # can drop weights while training at no loss of speed
    without: frozenset[tuple[str, str]] = frozenset()  # kinds that its forms take in but it not

    def refuses(self, config: AttentionConfig) -> Iterator[str]:
        """The parts of a mechanism that this kernel cannot serve."""
        for part in PARTS:
            chosen: Variant = getattr(config, part)
            forms = self.serves.get(part, frozenset())
            if (forms and form(chosen) not in forms) or (part, chosen.kind) in self.without:
                yield part


def _serves(**forms: str) -> dict[str, frozenset[str]]:
    return {part: frozenset(names.split()) for part, names in forms.items()}


KERNELS = {
    kernel.name: kernel
    for kernel in (
        Kernel("reference", {}),
        Kernel(
            "additive",
            _serves(score="additive"),
        ),
        Kernel(
            "sdpa",
            _serves(
                score="inner metric projected",
                normalizer="softmax",
                structure=PLAIN,
                heads=f"{SPLIT} mixed_weights",
            ),
            drops_weights=False,
        ),
        Kernel(
            "flex",
            _serves(
                score="inner metric projected",
                normalizer="softmax",
                structure=PLAIN,
                position="none absolute rotation",
                heads=f"{SPLIT} mixed_weights",
            ),
            devices=frozenset({"cuda"}),
            drops_weights=False,
        ),
        Kernel(
            "linear",
            _serves(score="features", normalizer="proportion", structure=PLAIN, heads=SPLIT),
            drops_weights=False,
            without=frozenset(("structure", k) for k in ("window", "dilated", "strided", "block", "bigbird")),
        ),
        Kernel("nystrom", _serves(structure="landmarks"), drops_weights=False),
    )
}  # fmt: skip


def form(part: Variant) -> str:
    """The form of a part; a plugin's class may state its own."""
    stated = getattr(part.target, "form", None) if isinstance(part.target, type) else None
    return str(stated or getattr(part, "form", "other"))


def kernels_for(config: AttentionConfig) -> list[str]:
    """Every kernel that can serve a mechanism on some device, the reference first."""
    return [name for name, kernel in KERNELS.items() if not any(kernel.refuses(config))]


def is_recurrent(config: AttentionConfig) -> bool:
    """Whether a query has to know what earlier queries looked at."""
    return any(form(getattr(config, part)) == "recurrent" for part in PARTS)


def mistakes(config: AttentionConfig, where: str) -> list[Mistake]:
    """What in this mechanism does not go together, with the nearest choices that do."""
    chosen = {part: form(getattr(config, part)) for part in PARTS}
    found = []
    for rule in _broken(chosen):
        kind, other = getattr(config, rule.part).kind, getattr(config, rule.other).kind
        problem = f"{rule.part} '{kind}' does not go with {rule.other} '{other}': {rule.reason}"
        found.append(Mistake(f"{where}.{rule.other}", problem, _ways_out(chosen, rule)))
    return [*found, *_kernel_mistakes(config, where)]


def _broken(chosen: Mapping[str, str]) -> Iterator[Rule]:
    for rule in RULES:
        if chosen[rule.part] in rule.forms and chosen[rule.other] not in rule.allowed:
            yield rule


def _ways_out(chosen: Mapping[str, str], rule: Rule) -> str:
    """The kinds of either part that would mend this rule and break no other; else this one."""
    ways = []
    for part in (rule.other, rule.part):
        mended = [k for k, f in _kinds(part) if not any(_broken({**chosen, part: f}))]
        partly = [k for k, f in _kinds(part) if rule not in _broken({**chosen, part: f})]
        if mended or partly:
            ways.append(f"{part}={' | '.join(mended or partly)}")
    return "allowed: " + ", or ".join(ways)


def _kinds(part: str) -> Iterator[tuple[str, str]]:
    for kind, schema in SLOTS[part].choices.items():
        stated = getattr(schema.target, "form", None) if isinstance(schema.target, type) else None
        yield kind, str(stated or getattr(schema, "form", "other"))


def _kernel_mistakes(config: AttentionConfig, where: str) -> Iterator[Mistake]:
    if config.kernel == "auto":
        return
    allowed = ["auto", *kernels_for(config)]
    if config.kernel not in KERNELS:
        yield Mistake(
            f"{where}.kernel", f"no kernel '{config.kernel}'", suggest(config.kernel, allowed)
        )
    elif config.kernel not in allowed:
        parts = [f"{p} '{getattr(config, p).kind}'" for p in KERNELS[config.kernel].refuses(config)]
        problem = f"kernel '{config.kernel}' cannot serve {', '.join(parts)}"
        yield Mistake(f"{where}.kernel", problem, f"allowed: {', '.join(allowed)}")


def usable_for(config: AttentionConfig, where: str, roles: set[str]) -> list[Mistake]:
    """What in this mechanism a model cannot use, whose attention has these roles.

    Roles are `self`, `cross` and `pooling`. Two things are asked of a mechanism:

    - What goes query by query needs queries in an order of their own: it is refused where a
      model attends to itself, which answers all queries at once.
    - Relative positions, and structures that compare positions, need queries and keys on one
      axis: they act in self-attention, and are left out elsewhere (as T5 and every decoder with
      rotary positions do). A model without self-attention would leave them out altogether, which
      is refused. A window stays in cross-attention: there it is Luong's local-m, which takes it
      that source and target advance together.
    """
    found = []
    if "self" in roles and is_recurrent(config):
        parts = [p for p in PARTS if form(getattr(config, p)) == "recurrent"]
        for part in parts:
            problem = f"'{getattr(config, part).kind}' goes query by query: not in self-attention"
            allowed = [k for k, f in _kinds(part) if f != "recurrent"]
            hint = f"use it with model=recurrent, or allowed: {', '.join(allowed)}"
            found.append(Mistake(f"{where}.{part}", problem, hint))
    if "self" not in roles:
        for part in ("position", "structure"):
            if getattr(config, part).kind != at_role(config, "cross").__getattribute__(part).kind:
                problem = f"'{getattr(config, part).kind}' has no meaning without self-attention"
                found.append(Mistake(f"{where}.{part}", problem, _absolute(part)))
    return found


ALIGNED = frozenset({"causal", "dilated", "strided", "block", "bigbird"})


def at_role(config: AttentionConfig, role: str) -> AttentionConfig:
    """The mechanism as it is used in one role: what needs one axis is left out off it."""
    if role == "self":
        return config
    position = SLOTS["position"].choices["none"].model_construct(kind="none")
    structure = SLOTS["structure"].choices["global"].model_construct(kind="global")
    changed: dict[str, Variant] = {}
    if getattr(config.position, "relative", False):
        changed["position"] = position
    if config.structure.kind in ALIGNED:
        changed["structure"] = structure
    return config.model_copy(update=changed)


def _absolute(part: str) -> str:
    if part == "position":
        kinds = [k for k, s in SLOTS[part].choices.items() if not getattr(s, "relative", False)]
    else:
        kinds = [k for k in SLOTS[part].choices if k not in ALIGNED]
    return f"allowed: {', '.join(kinds)}"
