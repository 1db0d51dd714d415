"""Which parts of a mechanism go together, in which models, and which kernels serve them.

Every part has a `form` (`config.attention.Part`). The rules go by forms, so that a plugin's part is
covered by the form of its slot ("other": the reference kernel alone) or by the `form` that its own
class states.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from attnlab.config.section import SLOTS, load_kinds
from attnlab.errors import Mistake, suggest

if TYPE_CHECKING:
    from attnlab.config.attention import AttentionConfig, Kernel, Part

PARTS = ("score", "normalizer", "structure", "position", "heads")
ROLES = ("self", "cross", "pooling")


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


SPLIT = "split channels"  # heads whose maps stay as the normalizer computed them
MASKS = "global pattern causal"  # structures that are a mask and nothing else
INNER = "inner metric projected"  # scores that are an inner product of prepared sides
PAIRS = f"{INNER} additive recurrent other"  # scores whose logits are computed pair by pair
POSITIVE = "features rectified"  # scores that are never negative, so that proportions are weights

RULES = (
    # positions: what they change has to be there
    _rule("position", "rotation", "score", "inner metric", "it rotates what is compared"),
    _rule("position", "inner_bias", "score", "inner", "it adds to an inner product"),
    _rule("position", "bias", "score", PAIRS, "it adds to logits of pairs"),
    _rule("position", "absolute", "score", f"{PAIRS} {POSITIVE}", "the score ignores them"),
    _rule("position", "weighing", "score", "rectified", "it weights positive features"),
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
    _rule("normalizer", "recurrent", "structure", "global pattern recurrent", "it goes key by key"),
    # landmarks
    _rule("structure", "landmarks", "score", INNER, "landmarks are means of what is compared"),
    _rule("structure", "landmarks", "normalizer", "softmax", "it approximates softmax"),
    _rule("structure", "landmarks", "position", "none absolute rotation", "it makes no logits"),
    _rule("structure", "landmarks", "heads", SPLIT, "it makes no logits"),
    # blocks that are predicted
    _rule("structure", "chosen", "score", "inner", "it predicts where inner products are high"),
    _rule("structure", "chosen", "heads", SPLIT, "it chooses for each map by itself"),
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


def forms(**parts: str) -> dict[str, frozenset[str]]:
    """part -> its forms, from words."""
    return {part: frozenset(names.split()) for part, names in parts.items()}


def kinds_of(part: str) -> dict[str, type[Part]]:
    """Every kind of a part by its name."""
    load_kinds()
    return cast("dict[str, type[Part]]", SLOTS[part].kinds())


def kernels() -> dict[str, type[Kernel]]:
    """Every kernel by its name."""
    load_kinds()
    return cast("dict[str, type[Kernel]]", SLOTS["kernel"].kinds())


def kernels_for(config: AttentionConfig) -> list[str]:
    """Every kernel that can serve a mechanism on some device, the reference first."""
    return [name for name, kernel in kernels().items() if not any(kernel.refuses(config))]


def parts_of(config: AttentionConfig) -> dict[str, Part]:
    """The five parts of a mechanism by their names."""
    return {part: getattr(config, part) for part in PARTS}


def is_recurrent(config: AttentionConfig) -> bool:
    """Whether the map of a query depends on those of earlier queries."""
    return any(part.form == "recurrent" for part in parts_of(config).values())


def mistakes(config: AttentionConfig, where: str) -> list[Mistake]:
    """What in this mechanism does not go together, with the nearest choices that do."""
    chosen = chosen_forms(config)
    mistakes = []
    for rule in broken(chosen):
        kind, other = getattr(config, rule.part).kind, getattr(config, rule.other).kind
        problem = f"{rule.part} '{kind}' does not go with {rule.other} '{other}': {rule.reason}"
        mistakes.append(Mistake(f"{where}.{rule.other}", problem, _ways_out(chosen, rule)))
    return [*mistakes, *_kernel_mistakes(config, where)]


def chosen_forms(config: AttentionConfig) -> dict[str, str]:
    """The forms of the five parts by their names."""
    return {name: part.form for name, part in parts_of(config).items()}


def broken(chosen: Mapping[str, str]) -> Iterator[Rule]:
    """The rules that parts of these forms break."""
    for rule in RULES:
        if chosen[rule.part] in rule.forms and chosen[rule.other] not in rule.allowed:
            yield rule


def _ways_out(chosen: Mapping[str, str], rule: Rule) -> str:
    """The kinds of either part that would mend this rule and break no other; else this one."""
    ways = []
    for part in (rule.other, rule.part):
        mended = [k for k, f in _kinds(part) if not any(broken({**chosen, part: f}))]
        partly = [k for k, f in _kinds(part) if rule not in broken({**chosen, part: f})]
        if mended or partly:
            ways.append(f"{part}={' | '.join(mended or partly)}")
    return "allowed: " + ", or ".join(ways)


def _kinds(part: str) -> Iterator[tuple[str, str]]:
    """Each kind of a part, with its form."""
    for kind, schema in kinds_of(part).items():
        yield kind, schema.form


def _kernel_mistakes(config: AttentionConfig, where: str) -> Iterator[Mistake]:
    if config.kernel == "auto":
        return
    allowed = ["auto", *kernels_for(config)]
    kernel = kernels().get(config.kernel)
    if kernel is None:
        hint = suggest(config.kernel, allowed)
        yield Mistake(f"{where}.kernel", f"no kernel '{config.kernel}'", hint)
        return
    refused = [f"{part} '{getattr(config, part).kind}'" for part in kernel.refuses(config)]
    if refused:
        problem = f"kernel '{config.kernel}' cannot serve {', '.join(refused)}"
        yield Mistake(f"{where}.kernel", problem, f"allowed: {', '.join(allowed)}")
    if config.dropout and not kernel.drops_weights:
        problem = f"kernel '{config.kernel}' drops no weights in training"
        yield Mistake(f"{where}.kernel", problem, "try: kernel=auto, or dropout=0")


# Forms that depend on how far apart two states are, but not on their positions in a row.
SHIFTED_ALIKE = {
    "score": {"inner", "metric", "projected", "additive"},
    "normalizer": {"softmax", "free", "other"},
    "structure": {"global", "pattern", "causal"},
    "position": {"none", "rotation", "bias", "inner_bias"},
    "heads": {"split", "mixed_logits", "mixed_weights"},
}


def packable(config: AttentionConfig, where: str) -> Iterator[Mistake]:
    """What in this mechanism would tell several examples in a row from one in a row of its own."""
    for part, chosen in parts_of(config).items():
        if chosen.form not in SHIFTED_ALIKE[part] or chosen.from_row_start:
            problem = f"'{chosen.kind}' counts from the start of a row, which model.packed shares"
            yield Mistake(f"{where}.{part}.kind", problem, "try: model.packed=false")


def usable_for(config: AttentionConfig, where: str, roles: set[str]) -> list[Mistake]:
    """What in this mechanism a model cannot use, whose attention has these roles.

    Roles are `self` (attends to itself), `causal` (does so while generating), `cross` and
    `pooling`. The conditions:

    - What goes query by query needs queries in an order of their own: it is refused where a
      model attends to itself, which answers all queries at once.
    - What sees all keys at once (landmarks, images, channel gates, positions predicted as a share
      of the length) would see the future: it is refused where a model generates by attending to
      itself.
    - Relative positions, and structures that compare positions, need queries and keys on one
      axis: they act in self-attention, and are left out elsewhere (as T5 and every decoder with
      rotary positions do). A model without self-attention would leave them out altogether, which
      is refused. A window stays in cross-attention: there it is Luong's local-m, which takes it
      that source and target advance together. Landmarks are of one sequence, and left out too.
    """
    refused = []
    if "self" in roles or "causal" in roles:
        reason = "goes query by query: not in self-attention"
        refused += _refused(config, where, "recurrent", reason)
    if "causal" in roles:
        for form_ in ("landmarks", "picture", "channels", "reweighted"):
            reason = "sees all keys at once: not where text is generated by self-attention"
            refused += _refused(config, where, form_, reason)
    if not roles & {"self", "causal"}:
        refused += _without_effect(config, where)
    return refused


def _refused(config: AttentionConfig, where: str, unwanted: str, reason: str) -> Iterator[Mistake]:
    for part, chosen in parts_of(config).items():
        if chosen.form == unwanted:
            allowed = ", ".join(k for k, f in _kinds(part) if f != unwanted)
            hint = f"allowed: {allowed}; or model=recurrent, which does not attend to itself"
            yield Mistake(f"{where}.{part}", f"'{chosen.kind}' {reason}", hint)


def _without_effect(config: AttentionConfig, where: str) -> Iterator[Mistake]:
    for part, chosen in parts_of(config).items():
        if chosen.one_axis:
            kinds = kinds_of(part).items()
            allowed = ", ".join(kind for kind, schema in kinds if not schema.one_axis)
            problem = f"'{chosen.kind}' has no meaning in a model without self-attention"
            yield Mistake(f"{where}.{part}", problem, f"allowed: {allowed}")


def role_of(site: str) -> str:
    """`decoder.cross.0` is cross-attention, `encoder.self.3` self-attention, `pooling` pooling."""
    roles = [part for part in site.split(".") if part in ROLES]
    if len(roles) != 1:
        raise ValueError(f"site '{site}' names no role; it needs one of {', '.join(ROLES)}")
    return roles[0]


def at_role(config: AttentionConfig, role: str) -> AttentionConfig:
    """The mechanism as it is used in one role: off self-attention without what needs one axis."""
    if role == "self":
        return config
    changed = {
        name: kinds_of(name)[part.neutral].model_construct(kind=part.neutral)
        for name, part in parts_of(config).items()
        if part.one_axis
    }
    return config.model_copy(update=changed)
