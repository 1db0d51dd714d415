"""Mechanisms as configuration: every file composes, what does not go together is said at once."""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from attnlab.config.attention import AttentionConfig
from attnlab.config.combinations import (
    PARTS,
    RULES,
    at_role,
    kernels,
    kernels_for,
    mistakes,
    usable_for,
)
from attnlab.config.compose import load
from attnlab.config.section import SLOTS
from attnlab.errors import ConfigError
from tests.attention.mechanisms import named

CONF = Path(__file__).parents[2] / "conf"
FILES = sorted((CONF / "attention").rglob("*.yaml"))
NAMED = sorted(path.stem for path in (CONF / "attention").glob("*.yaml"))


@functools.cache
def _composed(*overrides: str) -> AttentionConfig:
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        composed = compose("config", overrides=list(overrides)).attention
    return AttentionConfig.model_validate(OmegaConf.to_container(composed, resolve=True))


def test_schema_needs_no_torch() -> None:
    code = "import sys, attnlab.config.attention; sys.exit('torch' in sys.modules)"
    source = str(CONF.parent / "src")
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, env={"PYTHONPATH": source}, check=False).returncode == 0


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(CONF)))
def test_files_begin_with_a_command_that_chooses_them(path: Path) -> None:
    """That it works is tested with those of all other files."""
    command = path.read_text().splitlines()[0].removeprefix("# python train.py ").split()
    assert command[-1] == f"{path.parent.relative_to(CONF)}={path.stem}"


@pytest.mark.parametrize("part", PARTS)
def test_every_kind_has_a_file_and_every_file_a_kind(part: str) -> None:
    files = {path.stem for path in (CONF / "attention" / part).glob("*.yaml")}
    built_in = {
        kind for kind, schema in SLOTS[part].kinds().items() if isinstance(schema.target, str)
    }
    assert files == built_in


def test_parts_are_swapped_from_the_command_line() -> None:
    config = _composed("attention=additive", "attention/score=dot", "attention/heads=multi")
    assert (config.score.kind, config.heads.kind) == ("dot", "multi")
    config = _composed(
        "attention=dot", "attention/normalizer=entmax", "attention.normalizer.alpha=1.3"
    )
    assert config.normalizer.settings() == {"alpha": 1.3}


@pytest.mark.parametrize("kind", [k for part in PARTS for k in SLOTS[part].kinds()])
def test_every_target_can_be_imported_and_depends_on_earlier_maps_as_its_form_says(
    kind: str,
) -> None:
    """The class overrides what depends on earlier maps where its form is `recurrent`."""
    for part in PARTS:
        schema = SLOTS[part].kinds().get(kind)
        if schema is None or not isinstance(schema.target, str):
            continue
        module, _, name = schema.target.partition(":")
        implementation = getattr(__import__(module, fromlist=[name]), name)
        if part in ("score", "normalizer", "structure"):
            built = implementation.__new__(implementation)
            assert built.recurrent == (schema.form == "recurrent")


def test_illegal_parts_are_named_with_the_way_out() -> None:
    config = _composed("attention=additive", "attention/position=rope")
    (mistake,) = mistakes(config, "attention")
    assert str(mistake) == (
        "attention.score: position 'rope' does not go with score 'additive': it rotates what is "
        "compared; allowed: score=dot | scaled_dot | cosine | l2, or "
        "position=none | sinusoidal | learned | t5 | alibi"
    )


def test_the_way_out_leads_out() -> None:
    config = _composed("attention=linear", "attention/normalizer=softmax")
    first = mistakes(config, "attention")[0]
    for choice in first.hint.split("normalizer=")[1].split(",")[0].split(" | "):
        mended = _composed("attention=linear", f"attention/normalizer={choice}")
        assert mistakes(mended, "attention") == []


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["attention=additive", "attention.kernel=sdpa"], "allowed: auto, reference, additive"),
        (["attention=additive", "attention.kernel=spda"], "no kernel 'spda'"),
        (
            ["attention=entmax", "attention.kernel=flex"],
            "cannot serve score 'additive', normalizer",
        ),
        (["attention=talking", "attention.kernel=sdpa"], "cannot serve heads 'talking'"),
        (
            ["attention=linear", "attention.kernel=linear", "attention.dropout=0.1"],
            "kernel 'linear' drops no weights in training; try: kernel=auto, or dropout=0",
        ),
    ],
)
def test_kernels_that_cannot(overrides: list[str], message: str) -> None:
    (mistake,) = mistakes(_composed(*overrides), "attention")
    assert message in str(mistake)


@pytest.mark.parametrize("kernel", sorted(kernels()))
def test_kernels_serve_some_named_mechanism(kernel: str) -> None:
    serving = [name for name in NAMED if kernel in kernels_for(named(name))]
    assert serving


def test_every_rule_can_be_broken_and_kept() -> None:
    """A rule that speaks of a form that no part has would never act."""
    forms = {part: {s.form for s in SLOTS[part].kinds().values()} | {"other"} for part in PARTS}
    for rule in RULES:
        assert rule.forms <= forms[rule.part], rule
        assert rule.allowed <= forms[rule.other] | {"other"}, rule
        assert forms[rule.other] - rule.allowed, rule


@pytest.mark.parametrize("name", ["location_aware", "coverage", "monotonic"])
def test_what_goes_query_by_query_is_refused_in_self_attention(name: str) -> None:
    config = named(name)
    assert usable_for(config, "attention", {"cross"}) == []
    (mistake,) = usable_for(config, "model.self_attention", {"self"})
    assert "goes query by query" in str(mistake)
    assert mistake.where.startswith("model.self_attention.")


@pytest.mark.parametrize("name", ["nystrom", "cbam", "se", "local"])
def test_what_sees_all_keys_is_refused_where_text_is_generated(name: str) -> None:
    config = named(name)
    assert usable_for(config, "attention", {"self", "cross"}) == []
    assert usable_for(config, "attention", {"self", "causal"})


@pytest.mark.parametrize("name", ["rope", "alibi", "t5", "shaw", "dilated", "bigbird"])
def test_what_needs_one_axis_is_left_out_elsewhere(name: str) -> None:
    config = named(name)
    assert at_role(config, "self") is config
    used = at_role(config, "cross")
    assert (used.position.kind, used.structure.kind) == ("none", "global")
    assert usable_for(config, "attention", {"self", "cross"}) == []
    (mistake,) = usable_for(config, "attention", {"cross"})
    assert "without self-attention" in str(mistake)


def test_a_window_stays_in_cross_attention() -> None:
    config = _composed("attention=window")
    assert at_role(config, "cross").structure.kind == "window"
    assert usable_for(config, "attention", {"cross"}) == []


def test_a_plugin_may_state_its_form() -> None:
    from attnlab.config.section import register

    class Stated:
        form = "inner"

        def __init__(self, shape: object, *, factor: float) -> None: ...

    try:
        register("score", "stated_in_a_test")(Stated)
        plain = _composed("attention=multihead")
        mine = SLOTS["score"].kinds()["stated_in_a_test"](kind="stated_in_a_test", factor=2.0)
        config = plain.model_copy(update={"score": mine})
        assert config.score.form == "inner"
        assert "sdpa" in kernels_for(config)
    finally:
        SLOTS["score"].kinds().pop("stated_in_a_test", None)


def test_a_kernel_of_another_device_is_refused() -> None:
    overrides = ["attention=multihead", "attention.kernel=flex"]
    with pytest.raises(ConfigError) as raised:
        load([*overrides, "trainer.accelerator=cpu"])
    assert "attention.kernel: kernel 'flex' runs on cuda alone" in str(raised.value)
    load([*overrides, "trainer.accelerator=gpu"])
