"""A language model, and any decoder, whose cache holds no more than a budget of keys."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from attnlab.attention.eviction import Evicting, evicting
from attnlab.attention.taps import Tap, sites
from attnlab.config.compose import load
from attnlab.data.batch import Padded
from attnlab.data.example import Example
from attnlab.data.vocabulary import EOS
from attnlab.errors import ConfigError
from attnlab.tasks.generate.decoding import Beam, Greedy
from attnlab.tasks.language_model.task import LanguageModel
from tests.models.building import SMALL, built, small_config, texts
from tests.models.test_causal_decoder import made as made_decoder
from tests.models.test_causal_decoder import prompts

TEXTS = ["abcabcabcaabccba", "cabcc", "bcabcbacabcb"]
MODEL = ["model=transformer", "model.feedforward_dim=16", "dataset=induction"]
TASK = [*MODEL, "task=language_model", "attention=rope"]
BEAM = Beam(size=3, answers=1, length_penalty=0, coverage_penalty=0)


def policy(kind: str, budget: int) -> Evicting:
    few = [] if kind == "window" else ["task.eviction.recent=0.25"]
    observed = {"snapkv": ["task.eviction.observed=2"], "expected": ["task.eviction.observed=3"]}
    settings = [f"task.eviction.budget={budget}", "task.eviction.every=1", "task.eviction.sink=1"]
    words = [*TASK, f"task/eviction={kind}", *settings, *few, *observed.get(kind, [])]
    task: Any = small_config(*words).task
    return task.eviction.build()


def made() -> tuple:
    config = small_config(*TASK)
    examples = [Example(str(i), {"text": list(text)}, None) for i, text in enumerate(TEXTS)]
    torch.manual_seed(0)
    model, batch, codec = built(config, examples)
    task = config.task.build(codec)
    assert isinstance(task, LanguageModel)
    return model, batch, task


@pytest.mark.parametrize("kind", ["window", "h2o", "snapkv", "expected"])
@torch.no_grad()
def test_texts_are_scored_step_by_step(kind: str) -> None:
    model, batch, task = made()
    dense = task.run(model, batch)
    task.eviction = policy(kind, 16)
    torch.testing.assert_close(task.run(model, batch), dense, atol=2e-5, rtol=1e-4)
    task.eviction = policy(kind, 4)
    bounded = task.run(model, batch)
    torch.testing.assert_close(bounded[:, :5], dense[:, :5], atol=2e-5, rtol=1e-4)
    assert not torch.allclose(bounded[0, 6:], dense[0, 6:], atol=1e-3)
    torch.testing.assert_close(task.answer(model, batch)[:, 1:], bounded[:, :-1].argmax(-1))
    units, mask = batch.inputs["text"]
    for i, length in enumerate(mask.sum(1).tolist()):  # what is padding for it changes no text
        alone = replace(
            batch, inputs={"text": Padded(units[i : i + 1, :length], mask[i : i + 1, :length])}
        )
        torch.testing.assert_close(
            task.run(model, alone)[0], bounded[i, :length], atol=2e-5, rtol=1e-4
        )
    assert torch.equal(model(batch), dense), "it is over with the task's pass"


@pytest.mark.parametrize("decoding", [Greedy(), BEAM])
@torch.no_grad()
def test_prompts_of_any_length_are_continued_by_themselves(decoding: Greedy | Beam) -> None:
    """With as many units read at once, a text has the answer that it has beside any other."""
    model = made_decoder("rope")
    tap, eviction, text = Tap(model, next(iter(sites(model)))), policy("h2o", 3), [5, 7, 4, 9, 6]

    def answer(other: list[int], eviction: Evicting | None) -> Tensor:
        with evicting([model], eviction):
            return decoding(model, prompts(text, other), 9, tap).units[0, 0]

    assert torch.equal(answer([8, 5], eviction), answer([4, 4], eviction))
    assert torch.equal(answer([8, 5], policy("h2o", 20)), answer([8, 5], None))


@pytest.mark.parametrize("decoding", [Greedy(), BEAM])
@torch.no_grad()
def test_an_answer_is_written_with_a_budget(decoding: Greedy | Beam) -> None:
    words = ["model=transformer", "model.feedforward_dim=16", "attention=rope"]
    config = small_config(*words, "task.max_length=8")
    model, batch, codec = built(config, texts([3, 2, 3], [6, 4, 5]))
    task = config.task.build(codec)
    task.decoding = decoding
    decoder: Any = model.decoder
    decoder.output.bias[EOS] = -50.0  # answers are as long as they may be
    answers = task.answer(model, batch)
    task.eviction = policy("h2o", 20)
    assert torch.equal(task.answer(model, batch), answers)
    scores = task._decoded(model, batch).scores
    task.eviction = policy("window", 2)
    assert not torch.allclose(task._decoded(model, batch).scores, scores)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["task/eviction=h2o", "model=recurrent"], "keeps no keys of what it writes"),
        ([*TASK, "task/eviction=predicted"], "has no predictor of blocks"),
        ([*TASK, "task/eviction=expected", "attention=cosine"], "is no inner product"),
        ([*TASK, "task/eviction=h2o", "attention=hierarchical"], "needs whole segments"),
        ([*TASK, "task/eviction=h2o", "task.eviction.every=256"], "always kept"),
        ([*TASK, "task/eviction=snapkv", "task.eviction.pool=2"], "no middle"),
    ],
)  # fmt: skip
def test_refused(words: list[str], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        load([*SMALL, *words])
