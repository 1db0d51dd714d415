"""Which parts go together, and which kernel serves them: tables, and what reads them.

Every part has a `form` (see `attention_weights` and `attention_layout`); the tables go by forms, so
that a plugin's part is covered by the form of its slot ("other": the reference kernel alone) or
by the `form` that its own class states. Nothing here imports torch.
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
MASKS = "pattern causal"  # structures that are a mask and nothing else
INNER = "inner metric projected"  # scores that are an inner product of prepared sides
PAIRS = f"{INNER} additive recurrent other"  # scores whose logits are made pair by pair
POSITIVE = "features rectified"  # scores that are never negative, with which proportions are made

RULES = (
    # positions: what they change has to be there
    _rule("position", "rotation", "score", "inner metric", "it turns what is compared"),
    _rule("position", "inner_bias", "score", "inner", "it adds to an inner product"),
    _rule("position", "bias", "score", PAIRS, "it adds to logits of pairs"),
    _rule("position", "absolute", "score", f"{PAIRS} {POSITIVE}", "the score sees no positions"),
    _rule("position", "weighing", "score", "rectified", "it weighs positive features"),
    # scores that are no logits
    _rule("score", POSITIVE, "normalizer", "proportion", "its scores are parts of a whole"),
    _rule("normalizer", "proportion", "score", POSITIVE, "it needs scores never negative"),
    _rule("score", POSITIVE, "structure", f"{MASKS} other", "its scores are no logits"),
    _rule("score", POSITIVE, "heads", SPLIT, "mixing would make its scores negative"),
    # what goes query by query
    _rule("score", "recurrent", "heads", SPLIT, "mixed maps have no past of their own"),
    _rule("normalizer", "recurrent", "heads", SPLIT, "mixed maps have no past of their own"),
    _rule("structure", "recurrent", "heads", SPLIT, "mixed maps have no past of their own"),
    _rule(
        "score", "recurrent", "structure", f"{MASKS} reweighted recurrent other",
        "it goes query by query",
    ),
    _rule("normalizer", "recurrent", "structure", "pattern recurrent", "it goes key by key"),
    # landmarks
    _rule("structure", "landmarks", "score", INNER, "landmarks are means of what is compared"),
    _rule("structure", "landmarks", "normalizer", "softmax", "it approximates softmax"),
    _rule("structure", "landmarks", "position", "none absolute rotation", "it makes no logits"),
    _rule("structure", "landmarks", "heads", SPLIT, "it makes no logits"),
    # segments
    _rule(
        "structure", "nested", "score", f"{INNER} additive blind picture other",
        "it scores segments as well as keys",
    ),
    _rule(
        "structure", "nested", "normalizer", "softmax free other",
        "it normalizes over segments as well as keys",
    ),
    _rule("structure", "nested", "position", "none absolute", "segments have no distance"),
    _rule("structure", "nested", "heads", SPLIT, "it scores segments before heads mix"),
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


SPARSE = ("window", "dilated", "strided", "block", "bigbird")


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
                score=INNER,
                normalizer="softmax",
                structure=MASKS,
                heads=f"{SPLIT} mixed_weights",
            ),
            drops_weights=False,
        ),
        Kernel(
            "flex",
            _serves(
                score=INNER,
                normalizer="softmax",
                structure=MASKS,
                position="none absolute rotation",
                heads=f"{SPLIT} mixed_weights",
            ),
            devices=frozenset({"cuda"}),
            drops_weights=False,
        ),
        Kernel(
            "linear",
            _serves(score=POSITIVE, normalizer="proportion", structure=MASKS, heads=SPLIT),
            drops_weights=False,
            without=frozenset(("structure", kind) for kind in SPARSE),
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
    for kind, schema in SLOTS[part].kinds().items():
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


# What sees how far apart two states are, but not where in a row they stand.
SHIFTED_ALIKE = {
    "score": {"inner", "metric", "projected", "additive"},
    "normalizer": {"softmax", "free", "other"},
    "structure": {"pattern", "causal"},
    "position": {"none", "rotation", "bias", "inner_bias"},
    "heads": {"split", "mixed_logits", "mixed_weights"},
}
ANCHORED = ("block", "bigbird", "strided")  # patterns that count from the start of a row


def packable(config: AttentionConfig, where: str) -> Iterator[Mistake]:
    """What in this mechanism would tell several examples in a row from one in a row of its own."""
    for part, forms in SHIFTED_ALIKE.items():
        chosen: Variant = getattr(config, part)
        if form(chosen) not in forms or chosen.kind in ANCHORED:
            problem = f"'{chosen.kind}' counts from the start of a row, which model.packed shares"
            yield Mistake(f"{where}.{part}.kind", problem, "try: model.packed=false")


def usable_for(config: AttentionConfig, where: str, roles: set[str]) -> list[Mistake]:
    """What in this mechanism a model cannot use, whose attention has these roles.

    Roles are `self` (attends to itself), `causal` (does so while generating), `cross` and
    `pooling`. What is asked of a mechanism:

    - What goes query by query needs queries in an order of their own: it is refused where a
      model attends to itself, which answers all queries at once.
    - What sees all keys at once (landmarks, pictures, channel gates, places predicted as a share
      of the length) would see the future: it is refused where a model generates by attending to
      itself.
    - Relative positions, and structures that compare positions, need queries and keys on one
      axis: they act in self-attention, and are left out elsewhere (as T5 and every decoder with
      rotary positions do). A model without self-attention would leave them out altogether, which
      is refused. A window stays in cross-attention: there it is Luong's local-m, which takes it
      that source and target advance together. Landmarks are of one sequence, and left out too.
    """
    found = []
    if "self" in roles or "causal" in roles:
        reason = "goes query by query: not in self-attention"
        found += _refused(config, where, "recurrent", reason)
    if "causal" in roles:
        for form_ in ("landmarks", "picture", "channels", "reweighted"):
            reason = "sees all keys at once: not where text is generated by self-attention"
            found += _refused(config, where, form_, reason)
    if not roles & {"self", "causal"}:
        found += _without_effect(config, where)
    return found


def _refused(config: AttentionConfig, where: str, unwanted: str, reason: str) -> Iterator[Mistake]:
    for part in PARTS:
        chosen = getattr(config, part)
        if form(chosen) == unwanted:
            allowed = ", ".join(k for k, f in _kinds(part) if f != unwanted)
            hint = f"allowed: {allowed}; or model=recurrent, which does not attend to itself"
            yield Mistake(f"{where}.{part}", f"'{chosen.kind}' {reason}", hint)


def _without_effect(config: AttentionConfig, where: str) -> Iterator[Mistake]:
    used = at_role(config, "cross")
    for part in ("position", "structure"):
        kind = getattr(config, part).kind
        if kind != getattr(used, part).kind:
            allowed = ", ".join(k for k, s in SLOTS[part].kinds().items() if not _aligned(s, k))
            problem = f"'{kind}' has no meaning in a model without self-attention"
            yield Mistake(f"{where}.{part}", problem, f"allowed: {allowed}")


ALIGNED = frozenset({"causal", "dilated", "strided", "block", "bigbird", "nystrom"})


def at_role(config: AttentionConfig, role: str) -> AttentionConfig:
    """The mechanism as it is used in one role: what needs one axis is left out off it."""
    if role == "self":
        return config
    neutral = {"position": "none", "structure": "global"}
    changed = {
        part: SLOTS[part].kinds()[kind].model_construct(kind=kind)
        for part, kind in neutral.items()
        if _aligned(type(getattr(config, part)), getattr(config, part).kind)
    }
    return config.model_copy(update=changed)


def _aligned(schema: type[Variant], kind: str) -> bool:
    """Whether a position or structure needs queries and keys on one axis."""
    return bool(getattr(schema, "relative", False)) or kind in ALIGNED
