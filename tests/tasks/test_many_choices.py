"""Scores of many units that are never all in memory: the same losses, slopes and answers."""

from __future__ import annotations

import weakref
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from attnlab.data.example import Example
from attnlab.models.units import LaterScores, limit_scores
from attnlab.objectives.answers import Focal, TaskLoss
from attnlab.objectives.terms import StepView
from tests.models.building import built, small_config, texts

TASKS = {
    "language_model": ["dataset=text", "model=transformer", "attention=rope"],
    "masked_language_model": ["dataset=text", "task.mask_share=0.5"],
    "generate": [],
    "generate by a Transformer": ["model=transformer"],
    "generate with ctc": ["task.ctc=0.3"],
    "language_model that attends": ["dataset=text", "model.bidirectional=false"],
}
RECURRENT_MAP = ["task.map=decoder.self.0"]


def made(name: str, at_once: int | None, *overrides: str) -> tuple[Any, Any, Any]:
    """A model in double precision, a batch and its task."""
    task = name.split(maxsplit=1)[0]
    words = [f"task={task}", *TASKS[name], "task.label_smoothing=0.1", *overrides]
    if name == "language_model that attends":
        words += RECURRENT_MAP
    config = small_config(*words, f"task.scores_at_once={at_once or 'null'}")
    model, batch, codec = built(config, texts([3, 6, 2], [7, 9, 5]))
    return model.double().train(), batch, config.task.build(codec)


def losses_and_slopes(name: str, at_once: int | None) -> tuple[Tensor, dict[str, Tensor], Any]:
    """Of examples that weigh differently, with one of them weighing nothing."""
    model, batch, task = made(name, at_once)
    torch.manual_seed(1)  # of what is masked
    scores = task.run(model, batch)
    sums, _ = task.losses(scores, batch)
    (sums * torch.tensor([0.5, 0.0, 2.0])).sum().backward()
    slopes = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return sums.detach(), slopes, scores


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("at_once", [1, 40])
def test_losses_and_slopes_are_those_of_all_scores_at_once(name: str, at_once: int) -> None:
    whole_sums, whole_slopes, _ = losses_and_slopes(name, None)
    sums, slopes, scores = losses_and_slopes(name, at_once)
    later = [each for each in (scores, *scores) if isinstance(each, LaterScores)]
    assert later, "not all at once"
    torch.testing.assert_close(sums, whole_sums, atol=1e-10, rtol=1e-10)
    assert slopes.keys() == whole_slopes.keys()
    for parameter, slope in slopes.items():
        torch.testing.assert_close(slope, whole_slopes[parameter], atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("name", TASKS)
def test_answers_figures_and_controls_are_the_same(name: str) -> None:
    found = []
    for at_once in (None, 1):
        model, batch, task = made(name, at_once)
        model.float().eval()
        example = Example("0", {"text": ["a", "b"]}, ["a", "b"])
        task.fit([example])
        with torch.no_grad():
            scores, answers = task.run(model, batch), task.answer(model, batch)
            metrics = task.metrics()
            task.update_metrics(metrics, batch, scores, answers)
            for own, units in task.controls(batch, scores, [example] * len(batch)).values():
                task.update_metrics(metrics, batch, own, units)
        found.append((answers, [metric.compute() for metric in metrics]))
    assert torch.equal(found[0][0], found[1][0])
    for one, other in zip(found[0][1], found[1][1], strict=True):
        assert one == pytest.approx(other, rel=1e-5)


def test_a_term_that_needs_scores_has_all_of_them() -> None:
    """Focal loss with gamma 0 is the loss of the task, from scores that are computed for it."""
    model, batch, task = made("generate", 1, "task.label_smoothing=0")
    scores = task.run(model, batch)
    sums, counts = task.losses(scores, batch)
    view = StepView(batch, model, task, scores, sums, counts, {}, 0)
    assert torch.equal(view.choices(), made("generate", None)[0](batch))
    torch.testing.assert_close(Focal(gamma=0)(view).value, TaskLoss()(view).value.float())
    assert torch.equal(task.outcomes(model, batch), view.choices())


def test_decoding_goes_on_step_by_step() -> None:
    for name in ("generate", "language_model", "generate by a Transformer"):
        found = []
        for at_once in (None, 1):
            model, batch, task = made(name, at_once, "task.max_length=4")
            model.eval()
            found.append([each[0].text for each in task.predict(model, batch, 1)])
        assert found[0] == found[1], name


class LiveMemory(TorchDispatchMode):
    """Counts the bytes of all tensors that are made inside, as long as they live."""

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[int, int] = {}
        self.now = self.most = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for each in made if isinstance(made, (tuple, list)) else [made]:
            if isinstance(each, Tensor):
                self.count(each.untyped_storage())
        return made

    def count(self, storage: Any) -> None:
        key = storage._cdata
        if key not in self.held:
            self.held[key] = storage.nbytes()
            self.now += storage.nbytes()
            self.most = max(self.most, self.now)
            weakref.finalize(storage, self.forget, key)

    def forget(self, key: int) -> None:
        self.now -= self.held.pop(key, 0)


def test_the_peak_is_that_of_a_piece() -> None:
    rows, width, units = 4096, 8, 500
    torch.manual_seed(0)
    gold = torch.randint(units, (1, rows))
    peaks = {}
    for at_once in (None, 64 * units):
        model, _, task = made("generate", at_once)
        layer = model.decoder.output.__class__(width, units)
        limit_scores(layer, task.scores_at_once)
        states = torch.randn(1, rows, width, requires_grad=True)
        with LiveMemory() as memory:
            task.cross_entropy(layer(states), gold)[0].sum().backward()
        peaks[at_once] = memory.most
    scores = 4 * rows * units
    assert peaks[None] >= 2 * scores, "the scores and their slope"
    assert peaks[64 * units] < 0.2 * scores
