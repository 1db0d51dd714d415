"""The mean of the weights teaches: what it is, what it costs, and what unlabelled examples do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from attnlab.config.compose import load
from attnlab.data.batch import Batch, collate
from attnlab.data.example import Example
from attnlab.data.supervision import labelled
from attnlab.data.target import AttentionTarget
from attnlab.errors import ConfigError
from attnlab.objectives.mean_teacher import MeanTeacher
from attnlab.training.learner import Learner
from tests.objectives.test_faithful import learner, sentences
from tests.runs import SHORT, figures, ran

KIND = "objective/terms=mean_teacher"
PLAIN = (KIND, "objective.terms.mean_teacher.schedule.steps=1")


def term_of(module: Learner) -> MeanTeacher:
    term = module.terms["mean_teacher"]
    assert isinstance(term, MeanTeacher)
    return term


def moved(module: Learner) -> None:
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in module.model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))


def test_the_teacher_is_the_mean_of_the_weights() -> None:
    module, _ = learner(*PLAIN, "objective.terms.mean_teacher.decay=0.6")
    term, parameter = term_of(module), next(module.model.parameters())
    expected = None
    for step in range(40):
        moved(module)
        term.follow(module.model, step)
        kept = min(0.6, step / (step + 10))
        own = parameter.detach().clone()
        expected = own if expected is None else kept * expected + (1 - kept) * own
        term.follow(module.model, step or 0)
        if step == 0:
            expected = own
    found = next(term.mean.parameters())
    torch.testing.assert_close(found, expected)
    assert not found.requires_grad
    module.train()
    assert not term.mean.training, "it drops nothing"


def test_a_teacher_like_the_model_costs_nothing_and_another_does() -> None:
    module, batch = learner(*PLAIN)
    assert float(module.losses(batch)[1]["mean_teacher"]) < 1e-6
    term_of(module).followed.fill_(10**6)  # so that it follows no more
    moved(module)
    view, _ = module._view(replace(batch))
    view.step = 10
    loss = term_of(module)(view)
    assert loss.value > 1e-3
    loss.value.backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in module.model.parameters())
    assert all(p.grad is None for p in term_of(module).mean.parameters())


def test_maps_are_learned_where_there_is_no_gold() -> None:
    words = (*PLAIN, "objective.terms.mean_teacher.maps=1")
    examples = sentences()
    keys = len(examples[0].inputs["text"])  # type: ignore[arg-type]
    ones = torch.ones(1, keys).numpy()
    gold = AttentionTarget(ones, query_mask=ones[:, 0] > 0, key_mask=ones[0] > 0)
    module, batch = learner(*words, examples=[replace(examples[0], target=gold), *examples[1:]])
    term_of(module).followed.fill_(10**6)
    moved(module)
    view, _ = module._view(batch)
    view.step = 10
    with torch.no_grad():
        taught = term_of(module)._of_maps(view, "pooling", torch.zeros(4, 1, 1, 7).log_softmax(-1))
    assert taught[0] == 0
    assert (taught[1:] > 0).all()
    with_maps = term_of(module)(view).value
    term_of(module).maps = 0.0
    assert with_maps > term_of(module)(view).value


def test_it_is_learned_from_where_it_is_sure_and_right() -> None:
    """Of its choice where nobody knows the label, else of the label."""
    module, whole = learner(*PLAIN, "objective.terms.mean_teacher.least=0.6")
    batch = unlabelled(module, whole, {0, 3})
    term = term_of(module)
    term.followed.fill_(10**6)
    moved(module)
    view, _ = module._view(batch)
    view.step = 10
    assert module.task.gold(batch)[:, 0].tolist() == [-100, 1, 0, -100]
    scores = torch.zeros(4, 1, 2)
    scores[:3, 0, 0] = 4.0  # of the first label the mean is sure, in all but the last example
    sure = term.sure(view, scores.log_softmax(-1))[:, 0].tolist()
    assert sure == [True, False, True, False]
    loss = term(view)
    assert 0 <= float(loss.figures["learned"]) <= 1 and loss.count == 4
    term.least = 0.0
    everything = term(view).total
    term.least = 0.999
    assert term(view).total == 0 < everything


def unlabelled(module: Learner, batch: Batch, names: set[int]) -> Batch:
    """The same batch, where nobody knows some labels."""
    codec = module.task.codec
    given = [replace(e, answer=None) if i in names else e for i, e in enumerate(sentences())]
    return collate([codec.encode(example, i) for i, example in enumerate(given)])


@pytest.mark.parametrize("names", [{1}, {0, 1, 2, 3}])
def test_examples_without_a_label_teach_by_the_term_alone(names: set[int]) -> None:
    words = ("objective/terms=[mean_teacher,vat,r_drop,focal,triplet,uninformed]", *PLAIN[1:])
    module, whole = learner(*words)
    batch = unlabelled(module, whole, names)
    assert batch.answer.values.shape == (4, 1)
    sums, counts = module.task.losses(module.model(batch), batch)
    assert [i for i in range(4) if counts[i] == 0] == sorted(names)
    assert all(sums[i] == 0 for i in names)
    known = [i for i in range(4) if i not in names]
    torch.testing.assert_close(
        sums[known], module.task.losses(module.model(whole), whole)[0][known]
    )
    view, active = module._view(batch)
    for name in ("mean_teacher", "vat"):
        assert active[name](view).count == 4
    loss, _ = module.losses(batch)
    loss.backward()
    assert loss.isfinite()


def test_a_run_learns_from_examples_without_labels(tmp_path: Path) -> None:
    words = ["experiment=reviews", "dataset.train=96", "dataset.val=8", "dataset.test=8"]
    words += [*SHORT, "model.dim=16", KIND, "dataset.labelled=0.2", "objective=unsupervised"]
    run = ran(tmp_path, *words, "task.class_weights=balanced", "trainer.batches.size=8")
    found = figures(run)
    assert {"accuracy", "f1_macro"} <= set(found["answer"])
    assert "linear" in found["answer_controls"], "of the examples with labels"
    head = (run / "history" / "train.csv").read_text().splitlines()[0]
    assert "loss_mean_teacher" in head


def test_labels_alone_can_be_withheld() -> None:
    with pytest.raises(ConfigError, match=r"dataset\.labelled: answers of form 'units' are no"):
        load(["experiment=dates", "dataset.labelled=0.5"])


def test_a_share_of_the_labels_is_kept_by_ids_alone() -> None:
    examples = [Example(f"train-{i}", {"text": ["a"]}, "yes") for i in range(2000)]
    few, more = (
        {i for i, e in enumerate(labelled(examples, share)) if e.answer is not None}
        for share in (0.1, 0.4)
    )
    assert 150 < len(few) < 250
    assert few < more
    assert labelled(examples, 1.0) is examples
