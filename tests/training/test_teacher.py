"""Teachers that read the same examples in other units, and several teachers at once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from attnlab.config.compose import load
from attnlab.data.batch import collate
from attnlab.errors import UserError
from attnlab.stages import train
from attnlab.stages.prepare import prepared_data
from attnlab.stages.run import Run, open_run
from attnlab.stages.trained_run import TrainedRun, load_teacher
from attnlab.training.data_module import PreparedData
from attnlab.training.teacher import Teachers, TrainedTeacher
from tests.models.pretrained import bert
from tests.runs import SHORT, ran

SMALL = (
    *("experiment=reviews", "dataset.train=48", "dataset.val=8", "dataset.test=8", "model.dim=16"),
    *SHORT,
    "stages=[prepare,train]",
)
DISTILLED = (
    "objective/terms=[logit_distillation,state_distillation]",
    "objective.terms.state_distillation.width=16",
)


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a pretrained model, which reads pieces of its own tokenizer."""
    folder = tmp_path_factory.mktemp("teacher")
    model = bert(folder / "bert", max_position_embeddings=400)
    words = (*SMALL[:4], *SHORT, "stages=[prepare,train]", "model=hf", f"model.name={model}")
    return ran(folder, *words)


def taught_by(folder: Path, *teachers: Path) -> tuple[PreparedData, TrainedTeacher | Teachers]:
    named = f"objective.teacher=[{','.join(map(str, teachers))}]"
    paths = [f"paths.{name}={folder / name}" for name in ("runs", "prepared")]
    config, plain = load([*SMALL, named, *DISTILLED, *paths, "logger=files"])
    prepared = prepared_data(config)
    data = PreparedData(prepared, config.dataset, config.trainer, config.seed)
    teacher = load_teacher(Run(folder, config, plain), data)
    assert teacher is not None
    return data, teacher  # type: ignore[return-value]


def test_a_pretrained_teacher_reads_its_own_pieces(pretrained: Path, tmp_path: Path) -> None:
    data, teacher = taught_by(tmp_path, pretrained)
    items = data.split("train")
    batch = collate([items[i] for i in (3, 1, 7)])
    trained = TrainedRun(open_run(pretrained))
    view = teacher.view(batch, trained.task, ["pooling"], True)
    own = trained.prepared.codec
    assert (
        own.vocabularies["text"].describe() != data.prepared.codec.vocabularies["text"].describe()
    )
    expected = [trained.model(collate([own.encode(items.examples[i], i)])) for i in (3, 1, 7)]
    torch.testing.assert_close(view.scores, torch.cat(expected), atol=1e-4, rtol=1e-4)
    target = view.targets["pooling"]
    assert target.weights.shape == batch.target.weights.shape, "its map is one over our words"
    mass = target.weights.sum(-1)
    assert (mass > 0.9).all(), "all but what lies on marks, which are no words"
    assert (mass < 1).all()


def test_a_recurrent_model_learns_from_a_pretrained_one(pretrained: Path, tmp_path: Path) -> None:
    taught = (*DISTILLED, "objective/terms/attention=kl", f"objective.teacher={pretrained}")
    student = ran(tmp_path, *SMALL, *taught)
    head = (student / "history" / "train.csv").read_text().splitlines()[0]
    assert {"loss_logit_distillation", "loss_state_distillation", "loss_attention"} <= set(
        head.split(",")
    )


def test_several_runs_teach_at_once(pretrained: Path, tmp_path: Path) -> None:
    other = ran(tmp_path / "other", *SMALL)
    data, teacher = taught_by(tmp_path, pretrained, other)
    assert isinstance(teacher, Teachers)
    batch = collate([data.split("train")[i] for i in range(4)])
    task = TrainedRun(open_run(other)).task
    views = [each.view(batch, task, [], True) for each in (*teacher.teachers, teacher)]
    one, two, both = (view.scores.softmax(-1) for view in views)
    torch.testing.assert_close(both, (one + two) / 2)
    assert views[2].states is not None
    assert views[2].states.pooled.shape == (4, 32)


def test_a_teacher_with_other_answers_is_refused(tmp_path: Path) -> None:
    words = ("experiment=questions", "dataset.train=32", "dataset.val=8", "dataset.test=8")
    other = ran(tmp_path / "other", *words, *SMALL[4:])
    paths = [f"paths.{name}={tmp_path / name}" for name in ("runs", "prepared")]
    words = (*SMALL, *paths, f"objective.teacher={other}", "logger=files")
    config, plain = load(words)
    with pytest.raises(UserError, match=r"objective\.teacher: .*: its answers are not those of"):
        train.main(config, plain, words)
