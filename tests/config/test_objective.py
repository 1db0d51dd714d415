"""Every choice of objective composes, is checked, and builds what its kind says."""

from __future__ import annotations

import pytest

from attnlab.config.compose import config_dir, load
from attnlab.config.objective import AttentionObjective, Schedule
from attnlab.errors import ConfigError

CHOICES = sorted(p.stem for p in (config_dir() / "objective" / "attention").glob("*.yaml"))
SCHEDULES = sorted(
    p.stem for p in (config_dir() / "objective" / "attention" / "schedule").glob("*.yaml")
)
EXPERIMENTS = sorted(p.stem for p in (config_dir() / "experiment").glob("*.yaml"))


def test_every_kind_has_its_yaml():
    assert set(CHOICES) == set(AttentionObjective.kinds())
    assert set(SCHEDULES) == set(Schedule.kinds())


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("group", ["supervised", "unsupervised"])
def test_every_objective_can_be_chosen_on_top_of_either_group(choice, group):
    config, _ = load([f"objective={group}", f"objective/attention={choice}"])
    assert config.objective.attention is not None
    assert type(config.objective.attention.build()).__name__ == (
        type(config.objective.attention).__name__
    )


@pytest.mark.parametrize("choice", SCHEDULES)
def test_every_schedule_can_be_chosen(choice):
    config, _ = load(["objective=supervised", f"objective/attention/schedule={choice}"])
    assert config.objective.attention is not None
    assert config.objective.attention.build().weight_at(10**6) >= 0


def test_no_objective_and_several():
    config, _ = load(["objective=unsupervised"])
    assert config.objective.attention is None
    more = "+objective/attention@objective.extra.spread=entropy"
    config, _ = load(["objective=supervised", more, "objective.extra.spread.weight=0.01"])
    assert config.objective.extra["spread"].weight == 0.01


@pytest.mark.parametrize(
    ("override", "where"),
    [
        ("objective.attention.weight=-1", "objective.attention.weight"),
        ("objective/attention=cross_entrop", "objective/attention"),
        ("objective.attention.kind=msee", "objective.attention.kind"),
        ("objective.attention.on=''", "objective.attention.on"),
    ],
)
def test_what_is_wrong_is_named(override, where):
    with pytest.raises(ConfigError) as error:
        load(["objective=supervised", override])
    assert where in str(error.value)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_can_do_without_a_loss_on_maps(experiment: str) -> None:
    config, _ = load([f"experiment={experiment}", "objective=unsupervised"])
    assert config.objective.attention is None


def test_what_only_one_loss_has_is_no_loss_without_its_kind() -> None:
    with pytest.raises(ConfigError, match=r"objective\.attention\.kind: no kind given"):
        load(["objective=unsupervised", "+objective.attention.teacher_weight=2"])
