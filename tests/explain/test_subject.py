"""What is explained: the model's own decisions, with units kept or erased."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from attnlab.data.batch import Padded
from attnlab.data.vocabulary import EOS
from attnlab.errors import UserError
from attnlab.explain.subject import Subject, reader_of
from tests.explain.subjects import CASES, GENERATED, subject
from tests.models.building import built, small_config, texts


@pytest.mark.parametrize("case", CASES)
def test_the_models_own_answer_is_its_most_likely_choice(case: str) -> None:
    """For texts, too: each unit is the likeliest given the units before it."""
    explained = subject(case)
    chances = explained.outcomes()
    likeliest = chances.argmax(-1)
    real = explained.decisions
    assert real.any(1).all()
    assert (likeliest == explained.batch.answer.values)[real].all()


@pytest.mark.parametrize("case", GENERATED)
def test_decisions_end_with_the_end_mark(case: str) -> None:
    explained = subject(case)
    for answer, real in zip(*explained.batch.answer, strict=True):
        said = answer[real].tolist()
        assert EOS not in said[:-1]
        assert said[-1] == EOS or len(said) == len(answer)


@pytest.mark.parametrize("case", CASES)
def test_measures_agree(case: str) -> None:
    explained = subject(case)
    probability = explained.confidence()
    torch.testing.assert_close(explained.evidence(), torch.logit(probability), rtol=1e-6, atol=1e-9)
    whole = torch.ones_like(explained.keys)[:, None]
    found = explained.where_kept(torch.cat([whole, ~whole], 1), Subject.confidence)
    torch.testing.assert_close(found[:, 0], probability)
    torch.testing.assert_close(found[:, 1], explained.confidence(explained.blank))


def test_log_odds_do_not_saturate() -> None:
    mild = subject("recurrent classify")
    with torch.no_grad():
        mild.model.output.weight.mul_(1e4)  # type: ignore[union-attr, operator]
    explained = Subject.of(mild.model, mild.task, mild.batch)
    assert (explained.confidence() == 1).all()
    values = explained.embedded.values.requires_grad_()
    log_odds = explained.evidence(values)
    assert log_odds.isfinite().all()
    assert (torch.autograd.grad(log_odds.sum(), values)[0].abs().sum((1, 2)) > 1).all()


@pytest.mark.parametrize("case", ["transformer generate", "picture and question"])
def test_how_many_variants_go_together_does_not_matter(case: str) -> None:
    explained = subject(case)
    kept = torch.rand(3, 6, explained.keys.shape[1], generator=torch.manual_seed(0)) < 0.5
    found = explained.where_kept(kept, Subject.evidence)
    together = replace(explained, at_once=100).where_kept(kept, Subject.evidence)
    torch.testing.assert_close(found, together)


def test_padding_is_not_seen() -> None:
    """What stands beyond the end of an example changes nothing."""
    explained = subject("transformer generate")
    junk = torch.where(explained.keys[..., None], explained.embedded.values, 7.0)
    torch.testing.assert_close(explained.evidence(junk), explained.evidence())


def test_other_answers_can_be_asked_about() -> None:
    own = subject("recurrent classify")
    other = Padded((own.batch.answer.values + 1) % 3, own.batch.answer.mask)
    asked = Subject.of(own.model, own.task, own.batch, other)
    assert (asked.confidence() < own.confidence()).all()


def test_the_reader_is_put_back_after_a_failure() -> None:
    explained = subject("recurrent classify")
    before = list(reader_of(explained.model).embedders)
    with pytest.raises(ValueError, match="RNN input dtype"):
        explained.outcomes(torch.zeros(1, 2, 3))
    assert list(reader_of(explained.model).embedders) == before


def test_a_model_whose_answer_is_its_map_makes_no_decision() -> None:
    examples = [replace(example, answer=None) for example in texts([1, 1], [4, 4])]
    config = small_config("task=attend")
    model, batch, codec = built(config, examples)
    subject = Subject.of(model, config.task.build(codec), batch)
    with pytest.raises(UserError, match="Attend makes no decision that could be explained"):
        subject.evidence()
