"""Every choice of objective composes, is checked, and builds what its kind says."""

from __future__ import annotations

import pytest
import yaml

from attnlab.config.compose import config_dir, load
from attnlab.config.objective import MapTerm, Schedule, Term
from attnlab.errors import ConfigError

FOLDER = config_dir() / "objective" / "terms"
CHOICES = sorted(path.stem for path in (FOLDER / "attention").glob("*.yaml"))
FURTHER = sorted(path.stem for path in FOLDER.glob("*.yaml"))
SCHEDULES = sorted(path.stem for path in (FOLDER / "attention" / "schedule").glob("*.yaml"))
EXPERIMENTS = sorted(p.stem for p in (config_dir() / "experiment").glob("*.yaml"))


def test_every_kind_has_its_yaml():
    on_maps = {kind for kind, term in Term.kinds().items() if issubclass(term, MapTerm)}
    assert set(CHOICES) == on_maps
    kinds = {
        yaml.safe_load((FOLDER / f"{name}.yaml").read_text())[name]["kind"] for name in FURTHER
    }
    assert kinds == set(Term.kinds()) - on_maps - {"task", "reinforce"}  # always there
    assert set(SCHEDULES) == set(Schedule.kinds())


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("group", ["supervised", "unsupervised"])
def test_every_objective_can_be_chosen_on_top_of_either_group(choice, group):
    config, _ = load([f"objective={group}", f"objective/terms/attention={choice}"])
    term = config.objective.terms["attention"]
    assert type(term.build()).__name__ == type(term).__name__


@pytest.mark.parametrize("choice", SCHEDULES)
def test_every_schedule_can_be_chosen(choice):
    config, _ = load(["objective=supervised", f"objective/terms/attention/schedule={choice}"])
    assert config.objective.terms["attention"].build().weight_at(10**6) >= 0


def test_no_loss_on_maps_and_several():
    config, _ = load(["objective=unsupervised"])
    assert list(config.objective.terms) == ["task", "reinforce"]
    more = "+objective/terms/attention@objective.terms.spread=entropy"
    config, _ = load(["objective=supervised", more, "objective.terms.spread.weight=0.01"])
    assert config.objective.terms["spread"].weight == 0.01


@pytest.mark.parametrize("objective", ["supervised", "unsupervised"])
def test_terms_are_added_by_their_names(objective: str) -> None:
    further = f"objective/terms=[{','.join(FURTHER)}]"
    needed = ["objective.teacher=somewhere", "model=transformer", "attention=multihead"]
    needed += ["experiment=reviews"]
    needed.append("attention/structure=predicted")
    config, _ = load([f"objective={objective}", further, *needed])
    assert set(config.objective.terms) >= {"task", *FURTHER}
    assert config.objective.on_maps == (objective == "supervised")


@pytest.mark.parametrize(
    ("override", "where"),
    [
        ("objective/terms=logit_distillation", "objective.teacher: logit_distillation learns"),
        ("objective/terms=triplet", "objective.terms.triplet.kind: triplet compares examples by"),
        ("objective/terms=block_gold", "objective.terms.block_gold.kind: block_gold trains what"),
        (
            ["model=transformer", "attention=multihead", "attention/structure=predicted"],
            "attention.structure.by: no loss trains the predictor; try: 'objective/terms=[block_",
        ),
        ("~objective.terms.task", "objective.terms: missing"),
        ("objective.terms.attention.weight=-1", "objective.terms.attention.weight"),
        ("objective/terms/attention=cross_entrop", "objective/terms/attention"),
        ("objective.terms.attention.kind=msee", "objective.terms.attention.kind"),
        ("objective.terms.attention.site=''", "objective.terms.attention.site"),
    ],
)
def test_what_is_wrong_is_named(override, where):
    with pytest.raises(ConfigError) as error:
        load(["objective=supervised", *([override] if isinstance(override, str) else override)])
    assert where in str(error.value)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_can_do_without_a_loss_on_maps(experiment: str) -> None:
    config, _ = load([f"experiment={experiment}", "objective=unsupervised"])
    assert not config.objective.on_maps


def test_what_only_one_loss_has_is_no_loss_without_its_kind() -> None:
    with pytest.raises(ConfigError, match=r"objective\.terms\.attention\.kind: no kind given"):
        load(["objective=unsupervised", "+objective.terms.attention.teacher_weight=2"])
