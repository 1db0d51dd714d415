"""bf16 where the CPU has no bf16 instructions, and a GPU where there is none."""

from __future__ import annotations

import json
import os
import sys
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from attnlab.attention.taps import Tap
from attnlab.config.compose import load
from attnlab.data.batch import Batch, collate
from attnlab.data.example import Example
from attnlab.data.loader import BatchOrder, Items, Loader
from attnlab.datasets.targets import span_target
from attnlab.errors import UserError
from attnlab.models.memory import ActivationTap
from attnlab.stages import train
from attnlab.tasks.task import Task
from attnlab.training import distributed
from attnlab.training.evaluator import Evaluator
from attnlab.training.history import MapRecorder
from attnlab.training.learner import Learner, keep_recurrent_in_fp32
from attnlab.training.teacher import TrainedTeacher
from tests.commands import run
from tests.models.building import built, small_config
from tests.runs import SHORT, figures, ran

PICTURES = ("task=classify", "model=convolutional")
TAUGHT = ("objective=supervised", "objective/terms/attention=transfer")


@pytest.mark.parametrize("layer", [nn.LSTM(4, 3, batch_first=True), nn.GRU(4, 3)])
def test_a_recurrent_layer_computes_in_fp32_under_autocast(layer: nn.Module) -> None:
    plain, inputs = deepcopy(layer), torch.randn(2, 5, 4)
    keep_recurrent_in_fp32(layer)
    with torch.autocast("cpu", torch.bfloat16):
        output, _ = deepcopy(layer)(inputs.bfloat16())
    assert output.dtype == torch.float32
    expected, _ = plain(inputs.bfloat16().float())
    torch.testing.assert_close(output, expected)


def test_a_cpu_with_avx2_alone_trains_a_recurrent_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    program = (
        "import torch; from torch import nn; from attnlab.training import learner as p; "
        "m = nn.LSTM(4, 4); p.cpu_has_bf16_recurrence() or p.keep_recurrent_in_fp32(m); "
        "c = torch.autocast('cpu', torch.bfloat16); c.__enter__(); "
        "m(torch.zeros(2, 1, 4))[0].sum().backward()"
    )
    done = run([sys.executable, "-c", program])
    assert done.returncode == 0, done.stderr
    assert os.environ["ONEDNN_MAX_CPU_ISA"] == "AVX2"


def test_no_gpu_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed.Path, "glob", lambda self, pattern: iter(()))
    monkeypatch.setattr(distributed.sys, "platform", "linux")
    with pytest.raises(UserError, match="no GPU on this machine; try: trainer=cpu"):
        distributed.require_gpu("gpu")
    distributed.require_gpu("cpu")


def pictures() -> list[Example]:
    random = np.random.default_rng(0)
    return [
        Example(str(i), {"image": random.random((1, 16, 16), np.float32)}, label, attended="image")
        for i, label in enumerate(["a", "b", "a"])
    ]


def learning(*overrides: str) -> tuple[Learner, Batch, Task]:
    config = small_config(*PICTURES, *overrides)
    model, batch, codec = built(config, pictures())
    task = config.task.build(codec)
    terms = {name: term.build() for name, term in config.objective.terms.items()}
    return Learner(model, task, terms, Evaluator(task, []), config.trainer, 1, {}), batch, task


def moved(model: nn.Module) -> nn.Module:
    """The same with other weights."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize("site", ["pooling", "activations"])
def test_a_map_like_the_teachers_costs_nothing_and_another_does(site: str) -> None:
    learner, batch, _ = learning(*TAUGHT, f"objective.terms.attention.site={site}")
    assert float(learner.losses(batch)[1]["attention"]) == 0, "no teacher, and no gold"
    learner.teacher = TrainedTeacher(learning()[0].model)
    assert float(learner.losses(batch)[1]["attention"]) < 1e-5
    learner.teacher = TrainedTeacher(moved(learning()[0].model).eval())
    loss, terms = learner.losses(batch)
    assert float(terms["attention"]) > 1e-3
    loss.backward()
    assert all(p.grad is None for p in learner.teacher.model.parameters())
    assert any(p.grad is not None for p in learner.model.parameters())


def test_choices_like_the_teachers_cost_nothing_and_others_do() -> None:
    distilled = ("objective=unsupervised", "objective/terms=logit_distillation")
    learner, batch, _ = learning(*distilled, "objective.teacher=given")
    learner.eval()
    learner.teacher = TrainedTeacher(learning()[0].model)
    assert float(learner.losses(batch)[1]["logit_distillation"]) < 1e-6
    learner.teacher = TrainedTeacher(moved(learning()[0].model))
    loss, figures = learner.losses(batch)
    assert float(figures["logit_distillation"]) > 1e-3
    loss.backward()
    assert any(p.grad is not None for p in learner.model.parameters())


def test_the_teacher_is_no_part_of_the_learner() -> None:
    learner, _, _ = learning(*TAUGHT)
    before = set(learner.state_dict())
    learner.teacher = TrainedTeacher(learning()[0].model)
    assert set(learner.state_dict()) == before


def test_its_map_is_the_mean_over_heads_in_every_row() -> None:
    learner, batch, task = learning("attention=multihead")
    with Tap(learner.model, "pooling") as tap:
        learner.model(batch)
    target = TrainedTeacher(learner.model).view(batch, task, ["pooling"]).targets["pooling"]
    torch.testing.assert_close(target.weights, tap.weights().mean(1).detach())
    assert target.rows().all()


def test_activations_are_the_shares_of_squares() -> None:
    learner, batch, _ = learning()
    with ActivationTap(learner.model) as tap:
        learner.model(batch)
    squares = learner.model.reader(batch).memory.values.square().sum(-1)  # type: ignore[operator]
    expected = squares / squares.sum(-1, keepdim=True)
    torch.testing.assert_close(tap.weights()[:, 0, 0], expected, rtol=1e-4, atol=1e-6)
    assert not learner.model.reader._forward_hooks  # type: ignore[union-attr]


def test_a_teacher_that_sees_other_cells_is_refused() -> None:
    learner, batch, _ = learning(*TAUGHT)
    learner.teacher = TrainedTeacher(learning("model.image.strides=[2,1]")[0].model)
    with pytest.raises(UserError) as refused:
        learner.losses(batch)
    assert str(refused.value) == (
        "objective.teacher: its map 'activations' has 64 keys, the model's has 16; "
        "a teacher needs patches or steps of the same size"
    )


def test_a_run_teaches_another_of_another_mechanism(tmp_path: Path) -> None:
    words = ["experiment=canvas_classify", "dataset.train=128", "dataset.val=4", "dataset.test=4"]
    words += [*SHORT, "model.dim=16"]
    teacher = ran(tmp_path / "teacher", *words, "trainer.max_epochs=2")
    taught = [*words, "attention=dot", *TAUGHT, f"objective.teacher={teacher}"]
    student = ran(tmp_path / "student", *taught)
    said = (student / "history" / "train.csv").read_text().splitlines()
    assert "loss_attention" in said[0]
    assert 0 <= figures(student)["attention"]["mass_on_gold"] <= 1
    assert json.loads((student / "status.json").read_text())["state"] == "finished"


def test_a_teacher_that_is_no_run_is_refused(tmp_path: Path) -> None:
    words = ["experiment=canvas_classify", "objective.teacher=nowhere", "dataset.train=8"]
    words += ["dataset.val=4", "dataset.test=4", "logger=files", "trainer.progress=false"]
    words += [f"paths.{name}={tmp_path / name}" for name in ("runs", "prepared")]
    config, plain = load(words)
    with pytest.raises(UserError, match=r"^objective\.teacher: nowhere: not a run's folder"):
        train.main(config, plain, words)


UNEQUAL = [  # answers of one to four letters, of which some have no map
    Example(str(i), {"text": text.split()}, list(answer), target=target)
    for i, (text, answer, target) in enumerate(
        [
            ("a b c d", "dcba", span_target([[(i, i + 1)] for i in (3, 2, 1, 0)], 4)),
            ("a b", "b", None),
            ("c d a", "ac", span_target([[(2, 3)], [(0, 1)]], 3)),
            ("b", "c", None),
            ("d", "b", span_target([[(0, 1)]], 1)),
        ]
    )
]


@pytest.mark.parametrize("accumulate", [2, 3])
def test_accumulated_batches_are_one_batch(accumulate: int) -> None:
    """Also the last window of an epoch, which has fewer batches; Lightning averages over all."""
    config = small_config(
        "task=generate", "objective=supervised", f"trainer.accumulate={accumulate}"
    )
    model, _, codec = built(config, UNEQUAL)
    task = config.task.build(codec)
    terms = {name: term.build() for name, term in config.objective.terms.items()}
    learner = Learner(model, task, terms, Evaluator(task, []), config.trainer, 1, {})
    items = Items(UNEQUAL, codec, kept=5)
    order = BatchOrder([1] * 5, size=1, bucket=1, seed=0, rank=0, world=1)
    batches = list(Loader(items, order, workers=0, pin=False, accumulate=accumulate))
    for first in range(0, 5, accumulate):
        window = batches[first : first + accumulate]
        losses = [learner.losses(batch)[0] for batch in window]
        parameters = list(model.parameters())
        found = torch.autograd.grad(
            torch.stack(losses).sum() / accumulate, parameters, allow_unused=True
        )
        whole = collate([items[int(batch.index)] for batch in window])
        expected = torch.autograd.grad(learner.losses(whole)[0], parameters, allow_unused=True)
        for one, other in zip(found, expected, strict=True):
            assert (one is None) == (other is None)
            if one is not None and other is not None:
                torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("callbacks", [[], [MapRecorder(None, {}, 1, print)]])  # type: ignore[arg-type]
def test_validation_makes_no_map_that_nobody_wants(
    callbacks: list[MapRecorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    learner, batch, _ = learning()
    learner.trainer = SimpleNamespace(callbacks=callbacks)  # type: ignore[assignment]
    made: list[Tap] = []
    original = Tap.log_weights
    monkeypatch.setattr(Tap, "log_weights", lambda tap: made.append(tap) or original(tap))
    maps = learner.validation_step(batch, 0)
    assert (maps is None) == (not callbacks) and len(made) == len(callbacks)
    assert learner.evaluator.compute()["loss"] > 0
