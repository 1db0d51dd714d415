"""Composition and checking: every mistake, at once, in plain words."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from omegaconf import OmegaConf

from attnlab.config import compose, recipes
from attnlab.config.objective import MapTerm
from attnlab.config.schema import broken_rules
from attnlab.datasets.generators.config import Generated
from attnlab.errors import ConfigError, UserError
from attnlab.stages.schema import schema

CONF = compose.config_dir()
OPTIONS = sorted(
    f"{path.parent.relative_to(CONF)}={path.stem}"
    for path in CONF.rglob("*.yaml")
    if path.parent != CONF
)


def mistakes(*overrides: str, folder: Path | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        compose.load(overrides, folder)
    return [str(mistake) for mistake in caught.value.mistakes]


@pytest.mark.parametrize("option", OPTIONS)
def test_every_yaml_begins_with_a_command_that_composes(option: str) -> None:
    group, _, name = option.partition("=")
    lines = (CONF / group / f"{name}.yaml").read_text().splitlines()
    command = lines[1] if lines[0].startswith("# @package") else lines[0]
    words = shlex.split(command.removeprefix("# "))
    assert words[0] in ("python", "torchrun", "attnlab"), command
    if words[0] == "attnlab":  # a stage that starts from a run
        words = [option]
    # A sweep's command (-m) is checked with the first of its values.
    overrides = [w.split(",")[0] if "-m" in words else w for w in words if "=" in w and w[0] != "-"]
    config, _ = compose.load(overrides)
    assert config.dataset.answer_form
    if group == "attention":
        assert config.attention.name == name
    if overrides == [f"attention={name}"]:
        assert config.name == f"dates-recurrent-{name}", "a mechanism is named by its file alone"
    if group == "experiment":
        assert isinstance(config.dataset, Generated) == ("paths.data=FOLDER" not in words)


def test_default_config_is_right_and_fits_its_json_schema() -> None:
    config, plain = compose.load()
    assert config.name == "dates-recurrent-additive"
    jsonschema.validate(plain, schema())
    wrong = plain | {"attention": plain["attention"] | {"score": {"kind": "none of ours"}}}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, schema())


def test_all_mistakes_are_shown_at_once() -> None:
    found = mistakes(
        "attention=additve",
        "trainer.max_epoch=3",
        "+model.foo=3",
        "trainer.precision=fp8",
        "seed=-1",
    )
    assert len(found) == 5
    assert found[0].startswith("attention: no option 'additve'; did you mean 'additive'? allowed: ")
    assert found[1].startswith(
        "trainer.max_epoch: unknown key; did you mean 'max_epochs'? allowed: "
    )
    assert "seed: -1 is not allowed; should be greater than or equal to 0" in found
    assert any(line.startswith("model.foo: unknown key; allowed: ") for line in found)
    allowed = "trainer.precision: 'fp8' is not allowed; allowed: 16-mixed, 32-true, bf16-mixed"
    assert allowed in found


@pytest.mark.parametrize(
    ("overrides", "left_out", "terms"),
    [
        (["dataset=files"], ["objective.terms.attention", "metrics.figures"], []),
        (["dataset=sounds", "objective=unsupervised"], ["metrics.figures"], []),
        (["dataset=files", "objective/terms/attention=entropy"], ["metrics.figures"], ["entropy"]),
        (["dataset=files", "objective.teacher=a_run"], ["metrics.figures"], ["cross_entropy"]),
        (["dataset=files", "objective=unsupervised", "metrics.figures=[]"], [], []),
        (["dataset=files", "dataset/gold=spans"], [], ["cross_entropy"]),
    ],
)
def test_what_compares_maps_with_gold_is_left_out_where_there_is_none(
    overrides: list[str],
    left_out: list[str],
    terms: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipes.say.cache_clear()
    config, plain = compose.load([*overrides, "task=classify"])
    assert bool(config.metrics.figures) == ("dataset/gold=spans" in overrides)
    on_maps = [t.kind for t in config.objective.terms.values() if isinstance(t, MapTerm)]
    assert on_maps == terms
    assert (config.objective.name == "unsupervised") == (not terms)
    said = capsys.readouterr().err
    assert said.startswith(f"attnlab: {' and '.join(left_out)} left out: " if left_out else "")
    assert bool(said) == bool(left_out)
    assert compose.check(OmegaConf.create(plain)) == (config, plain), "what is left stays as it is"


def test_the_hint_says_how_gold_is_given(capsys: pytest.CaptureFixture[str]) -> None:
    recipes.say.cache_clear()
    compose.load(["dataset=files", "task=classify"])
    assert capsys.readouterr().err.endswith(
        "dataset.gold is null; to give it: dataset/gold=spans | quotes | marks | scores | links | "
        "facts dataset.gold.column=COLUMN\n"
    )


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("attnetion=dot", "attnetion: unknown key; did you mean 'attention'?"),
        (
            "objective.terms.task.schedule={kind: warmup, steps: 9}",
            "objective.terms.task.schedule.steps: unknown key; allowed: kind; of another kind: "
            "'++objective.terms.task.schedule={kind: KIND, steps: VALUE}'",
        ),
        (
            "task.crf=true",
            "task.crf: unknown key; allowed: ctc, decoding, eviction, figures, kind, "
            "label_smoothing, map, max_length, name, scores_at_once; a key of task=tag",
        ),
        (
            "model=hf",
            "model.name: has to be given; a model's id on the Hugging Face hub, or a folder",
        ),
        ("trainer.lr=1", "trainer.lr: unknown key; did you mean 'trainer.optimizer.lr'?"),
        (
            "trainer.callbacks.ema.decay=0.9",
            "trainer.callbacks.ema.decay: unknown key",
        ),
        (
            "attention.score.kind=aditive",
            "attention.score.kind: unknown kind 'aditive'; did you mean",
        ),
        ("trainer.optimizer.lr=inf", "trainer.optimizer.lr: inf is not allowed; should be a fin"),
        ("trainer.optimizer.lr=nan", "trainer.optimizer.lr: nan is not allowed; should be a fin"),
        ("trainer.optimizer.betas=[0.9,1]", "trainer.optimizer.betas.1: 1 is not allowed"),
        ("trainer.clip_norm=-1", "trainer.clip_norm: -1 is not allowed"),
        ("trainer.threads=-2", "trainer.threads: -2 is not allowed"),
        ("trainer.threads=1000000", "trainer.threads: 1000000 is not allowed"),
        ("trainer.max_epochs=0", "trainer.max_epochs: 0 would train nothing; -1 is no limit"),
        (
            "trainer.max_epochs=many",
            "trainer.max_epochs: 'many' is not allowed; should be a valid integer",
        ),
        (
            "trainer.batches.size=0",
            "trainer.batches.size: 0 is not allowed; should be greater than 0",
        ),
        ("~trainer.batches.size", "trainer.batches.size: missing"),
        ("name=${nowhere}", "name: Interpolation key 'nowhere' not found"),
        ("trainer.devices=2", "trainer.strategy: 'single' serves one device; did you mean 'ddp'?"),
        (
            "trainer.max_epochs=-1",
            "trainer.max_epochs: no end: max_epochs and max_steps are both -1",
        ),
        (
            "trainer.precision=16-mixed",
            "trainer.precision: 16-mixed is some 60 times slower on a CPU",
        ),
        ("a{b", "a{b: not of the form key=value"),
        ("name=..", "name: '..' is no name; a name is no path: without / and "),
        ("stages=[]", "stages: [] is not allowed; one or more, each once, of prepare, train, eva"),
        ("stages=[train,prepare]", "stages: [train, prepare] is not allowed; one or more, each"),
        ("stages=[train,train]", "stages: [train, train] is not allowed"),
        ("stages=[report]", "stages: 'report' does nothing without 'evaluate'; of a run that is"),
        ("stages=[evaluate]", "stages: 'evaluate' does nothing without 'train'; of a run that is"),
        ("stages=[train,report]", "stages: 'report' does nothing without 'evaluate'"),
    ],
)
def test_mistake_is_one_plain_line(override: str, line: str) -> None:
    found = mistakes(override)
    assert len(found) == 1
    assert found[0].startswith(line), found[0]


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (
            ["model.co_attention=1", "attention=location_aware"],
            "attention: 'location_aware' goes query by query: not in co-attention; "
            "try: model.co_attention=0",
        ),
        (
            ["dataset=files", "dataset.optional=[asked]"],
            "dataset: no input 'asked'; there are: text",
        ),
        (
            ["hparams=lr", "hparams.name=../x"],
            "hparams.name: '../x' is no name; a name is no path: without / and \\, not . or ..",
        ),
        (
            ["dataset=files", "dataset.optional=[text]"],
            "dataset: optional: 'text' is attended to; no row may lack it",
        ),
    ],
)
def test_what_does_not_go_together_is_one_line(overrides: list[str], line: str) -> None:
    assert mistakes(*overrides) == [line]


@pytest.mark.parametrize("name", ["../escape/x", "/etc", ".", "..", "a\\b", "a\tb", "", "x" * 201])
def test_the_name_of_a_dataset_is_no_path(name: str) -> None:
    _, plain = compose.load()
    plain["dataset"]["name"] = name
    [found] = map(str, compose.find_mistakes(plain))
    message = "should have at most 200 characters" if len(name) > 200 else "a name is no path"
    assert found.startswith(f"dataset.name: '{name}' is ")
    assert message in found


def user_conf(tmp_path: Path, experiment: str) -> Path:
    """A copy of `conf/` with one more experiment in it."""
    folder = tmp_path / "conf"
    for path in CONF.rglob("*.yaml"):
        copy = folder / path.relative_to(CONF)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(path.read_text())
    (folder / "experiment" / "mine.yaml").write_text("# @package _global_\n" + experiment)
    return folder


def test_typo_in_an_experiment_is_refused(tmp_path: Path) -> None:
    folder = user_conf(tmp_path, "trainer:\n  max_epoch: 3\n")
    found = mistakes("experiment=mine", folder=folder)
    assert found[0].startswith("trainer.max_epoch: unknown key; did you mean 'max_epochs'?")


def test_broken_yaml_names_file_and_line(tmp_path: Path) -> None:
    folder = user_conf(tmp_path, "trainer: [1, 2\nseed: 3\n")
    assert "mine.yaml, line" in mistakes("experiment=mine", folder=folder)[0]


def test_rules_hold_for_every_trainer() -> None:
    for path in (CONF / "trainer").glob("*.yaml"):
        config, _ = compose.load([f"trainer={path.stem}"])
        assert not list(broken_rules(config))


def test_checking_needs_no_torch() -> None:
    code = (
        "import sys; from attnlab.config.compose import load; load(); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_plugin_that_does_not_exist() -> None:
    with pytest.raises(UserError, match="plugins: no module 'no_such_plugin' in "):
        compose.load(["plugins=[no_such_plugin]"])


def test_no_place_may_know_the_item_that_it_has_to_tell() -> None:
    every = ["experiment=baskets", "task.learn=every_position"]
    assert mistakes(*every, "model.prediction=${attention}") == [
        "model.bidirectional: states would contain the units that they have to predict; "
        "try: model.bidirectional=false",
        "model.prediction: predicts the map of one answer; task.learn=every_position has many; "
        "try: task.learn=answer",
        "objective: losses on maps are those of one answer; task.learn=every_position has many; "
        "try: objective=unsupervised, or task.learn=answer",
    ]


def test_queries_that_tell_one_another_stand_in_no_order_and_in_no_picture() -> None:
    said = "does not serve queries that attend to one another; try: task.rounds=1"
    for mechanism, key in (("cbam", "score: 'spatial'"), ("coverage", "structure: 'coverage'")):
        given = ["experiment=canvas_locate", f"attention={mechanism}"]
        assert mistakes(*given) == [f"attention.{key} {said}"]
        compose.load([*given, "task.rounds=1"])


def test_one_matrix_for_all_texts_takes_one_vocabulary_and_one_width() -> None:
    assert mistakes("experiment=dates", "model.tie=all") == [
        "model.tie: 'all' needs one vocabulary for all texts; 'dates' has several; did you mean "
        "'output'? or: dataset.tokenizer.joint=true"
    ]
    given = ["experiment=multi30k_recurrent", "paths.data=data"]
    assert mistakes(*given, "model.encoder_layers=0") == [
        "model.tie: 'all' needs one width; without an encoder inputs have that of model.dim=512; "
        "try: model.embedding_dim=512"
    ]
    compose.load([*given, "model.encoder_layers=0", "model.embedding_dim=512"])


def test_what_a_convolution_of_steps_may_not_join() -> None:
    given = ["experiment=baskets", "model=transformer", "attention=multihead", "model.kernel=3"]
    compose.load(given)
    assert mistakes(*given, "objective=unsupervised", "task.learn=every_position") == [
        "model.kernel: states would contain the units that they have to predict; "
        "try: model.kernel=null"
    ]
    assert mistakes(*given, "model.packed=true") == [
        "model.kernel: would join the examples that stand in one row; with model.packed=true try: "
        "model.kernel=null"
    ]
    assert mistakes(*given[:3], "model.kernel=4") == [
        "model: a kernel of 4 has no middle; use an odd number"
    ]


def test_labels_whose_names_are_numbers_need_no_quotes() -> None:
    config, _ = compose.load(["experiment=reviews", "task.merge_labels={1: 2, 3: null}"])
    assert config.task.merge_labels == {"1": "2", "3": None}


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("seed=1 trainer.max_epochs=2", "dates-recurrent-additive"),
        (
            "attention/normalizer=sparsemax objective=unsupervised",
            "dates-recurrent-additive+sparsemax-unsupervised",
        ),
        ("attention.normalizer.kind=sparsemax", "dates-recurrent-additive+sparsemax"),
        ("attention=dot attention/position=alibi model=transformer", "dates-transformer-dot+alibi"),
        ("experiment=reviews trainer/optimizer=adamw", "reviews-recurrent-additive-adamw"),
        ("name=mine objective=unsupervised", "mine"),
        ("objective=supervised objective=unsupervised", "dates-recurrent-additive-unsupervised"),
        ("dataset=reviews task=classify model=recurrent", "reviews-recurrent-additive"),
        ("dataset=support task=retrieve", "support-recurrent-additive-retrieve"),
    ],
)
def test_a_run_is_named_by_what_differs_from_the_experiment(words: str, name: str) -> None:
    config, plain = compose.load(words.split())
    assert config.name == plain["name"] == name
