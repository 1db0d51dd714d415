"""Terms for faithful maps: the changed pass is what it says, and training makes maps matter."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from attnlab.attention.taps import Intervention, uniform
from attnlab.data.batch import Batch
from attnlab.data.example import Example
from attnlab.errors import UserError
from attnlab.objectives.faithful import Comprehensiveness
from attnlab.training.evaluator import Evaluator
from attnlab.training.learner import Learner
from tests.models.building import built, pictures, small_config

SITE = "pooling"
KINDS = ("uninformed", "comprehensiveness", "sufficiency")


def sentences() -> list[Example]:
    """One word says the label; the others are the same for all."""
    words = {"good": "yes", "bad": "no"}
    texts = [[*"abcde"[:i], word, "f", "g"] for word in words for i in (1, 4)]
    return [
        Example(str(i), {"text": text}, next(words[w] for w in text if w in words))
        for i, text in enumerate(texts)
    ]


def learner(*overrides: str, examples: list[Example] | None = None) -> tuple[Learner, Batch]:
    steady = [
        f"objective.terms.{k}.schedule.steps=1" for k in KINDS if any(k in o for o in overrides)
    ]
    shared = ("dataset=reviews", "task=classify", "objective=unsupervised")
    config = small_config(*shared, *overrides, *steady)
    model, batch, codec = built(config, examples or sentences())
    task = config.task.build(codec)
    terms = {name: term.build() for name, term in config.objective.terms.items()}
    return Learner(model, task, terms, Evaluator(task, []), config.trainer, 1, {}), batch


def losses(module: Learner, batch: Batch) -> Tensor:
    return module.task.losses(module.model(batch), batch)[0]


@pytest.mark.parametrize("margin", [0.0, 0.3, 2.0])
def test_uninformed_is_what_the_loss_under_a_uniform_map_lacks(margin: float) -> None:
    words = ("objective/terms=uninformed", f"objective.terms.uninformed.margin={margin}")
    module, batch = learner(*words)
    with torch.no_grad():
        module.model.pooling.queries.learned.mul_(20)  # a map that is far from uniform
    own = losses(module, batch)
    with Intervention(module.model, SITE, uniform):
        other = losses(module, batch)
    most = (torch.tensor(2.0).log() - own).clamp(0, margin)  # up to the loss of a guess
    expected = (most - (other - own)).clamp_min(0).mean()
    assert not torch.allclose(own, other)
    figures = module.losses(batch)[1]
    assert float(figures["uninformed"]) == pytest.approx(expected.item(), abs=1e-6)
    assert float(figures["uninformed_rise"]) == pytest.approx((other - own).mean().item(), abs=1e-6)


@pytest.mark.parametrize("kind", ["comprehensiveness", "sufficiency"])
def test_the_marked_units_are_blank_or_all_that_is_left(kind: str) -> None:
    words = (f"objective/terms={kind}", f"objective.terms.{kind}.share=0.3")
    module, batch = learner(*words, f"objective.terms.{kind}.margin=0")
    reader, seen = module.model.reader, []
    full = reader.embedder(batch.inputs["text"]).values
    hook = reader.encoder.register_forward_hook(lambda m, inputs, out: seen.append(inputs[0]))
    figures = module.losses(batch)[1]
    hook.remove()
    own, changed = seen[0].values, seen[1].values
    assert torch.equal(own, full)
    erased = ((changed - reader.blank(batch)).abs().sum(-1) < 1e-4) & batch.inputs["text"].mask
    length = batch.inputs["text"].mask.sum(1)
    marked = (0.3 * length).ceil()
    assert (erased.sum(1) == (marked if kind == "comprehensiveness" else length - marked)).all()
    torch.testing.assert_close(changed[~erased], full[~erased])
    rise = float(figures[f"{kind}_rise"])
    assert rise != 0
    assert float(figures[kind]) >= abs(
        min(rise, 0) if kind == "comprehensiveness" else max(rise, 0)
    )


def test_the_units_with_most_of_the_map_are_marked_and_get_its_gradient() -> None:
    module, batch = learner("objective/terms=comprehensiveness")
    view, _ = module._view(batch)
    term = module.terms["comprehensiveness"]
    assert isinstance(term, Comprehensiveness)
    marked = term.marked(view)
    weights = view.log_map(SITE).exp().mean(1)[:, 0]
    for row, chosen, real in zip(weights, marked, batch.inputs["text"].mask, strict=True):
        least = row[chosen > 0.5].min()
        assert (row[real & (chosen < 0.5)] <= least).all()
    marked[:, 0].sum().backward()
    gradient = module.model.pooling.queries.learned.grad
    assert gradient is not None and gradient.abs().sum() > 0


def test_training_makes_the_answer_depend_on_the_map() -> None:
    """Few steps: without the term a uniform map keeps every answer, with it none is left."""

    def rise(*words: str) -> float:
        torch.manual_seed(0)
        module, batch = learner(*words)
        optimizer = torch.optim.Adam(module.parameters(), 0.02)
        for _ in range(60):
            optimizer.zero_grad()
            module.losses(batch)[0].backward()
            optimizer.step()
        module.eval()
        own = losses(module, batch)
        assert own.mean() < 0.3
        with Intervention(module.model, SITE, uniform), torch.no_grad():
            return float((losses(module, batch) - own).mean())

    plain, faithful = rise(), rise("objective/terms=uninformed")
    assert plain < 0.3
    assert faithful > 0.55


def test_an_embedder_with_running_means_is_left_as_it_was() -> None:
    module, batch = learner(
        "objective/terms=sufficiency", "dataset=mnist", examples=pictures(["x", "y"])
    )
    module.train()
    before = {n: v.clone() for n, v in module.model.reader.embedder.named_buffers()}
    module.model.reader.blank(batch)
    assert before
    for name, value in module.model.reader.embedder.named_buffers():
        assert torch.equal(value, before[name]), name
    assert module.model.reader.embedder.training


def test_a_site_that_attends_to_something_else_is_named() -> None:
    module, batch = learner(
        "objective/terms=sufficiency", "model.prediction=${attention}", "attention=dot"
    )
    with pytest.raises(UserError, match="pooling attends to 1 states"):
        module.losses(batch)
