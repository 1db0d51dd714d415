"""Units decoded step by step."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from attnlab.data.batch import Padded
from attnlab.data.vocabulary import EOS, PAD
from attnlab.tasks.generate.head import CtcOutput, aligned
from tests.models.building import built, small_config, sounds

A, B = 4, 5


def sure_of(steps: list[int], units: int = 6) -> CtcOutput:
    """The output for one sound that gives nearly all probability to these units."""
    scores = torch.full((1, len(steps), units), -20.0)
    scores[0, torch.arange(len(steps)), torch.tensor(steps)] = 0.0
    return CtcOutput(scores.log_softmax(-1), torch.ones(1, len(steps), dtype=torch.bool))


def collapsed(steps: list[int]) -> list[int]:
    """Repeats taken as one, then nothing left out."""
    kept = [s for i, s in enumerate(steps) if i == 0 or steps[i - 1] != s]
    return [s for s in kept if s != PAD]


def test_repeats_are_one_unit_unless_a_blank_is_between() -> None:
    assert sure_of([A, A, PAD, A, B, B, PAD]).units().tolist() == [[A, A, B, EOS]]
    assert sure_of([PAD, PAD]).units().tolist() == [[EOS]]


def test_padding_is_not_decoded() -> None:
    one = sure_of([A, B, B, A])
    short = one._replace(mask=torch.tensor([[True, True, False, False]]))
    assert short.units().tolist() == [[A, B, EOS]]


def test_loss_is_that_of_all_paths_to_it() -> None:
    torch.manual_seed(0)
    chances = torch.randn(1, 4, 6).log_softmax(-1)
    answer = [A, A, EOS]
    ways = [way for way in product(range(6), repeat=4) if collapsed(list(way)) == answer[:-1]]
    whole = torch.stack([chances[0, range(4), way].sum() for way in ways]).logsumexp(0)
    padded = Padded(torch.tensor([answer]), torch.ones(1, 3, dtype=torch.bool))
    one = CtcOutput(chances, torch.ones(1, 4, dtype=torch.bool))
    assert one.losses(padded).item() == pytest.approx(-whole.item(), abs=1e-5)


def test_answer_that_does_not_fit_costs_nothing() -> None:
    padded = Padded(torch.tensor([[A, A, A, EOS]]), torch.ones(1, 4, dtype=torch.bool))
    assert sure_of([A, A]).losses(padded).item() == 0


def test_best_alignment_is_that_of_all_ways() -> None:
    torch.manual_seed(1)
    for units in ([A, B], [A, A], [B, A, B], [A]):
        chances = torch.randn(6, 6).log_softmax(-1)
        ways = [way for way in product([PAD, A, B], repeat=6) if collapsed(list(way)) == units]
        best = max(ways, key=lambda way: chances[range(6), way].sum().item())
        spans = aligned(chances, units)
        covered = [PAD] * 6
        for unit, (start, stop) in zip(units, spans, strict=True):
            covered[start:stop] = [unit] * (stop - start)
        assert tuple(covered) == best


def test_both_losses_and_both_errors_of_one_run() -> None:
    config = small_config("task=generate", "task.ctc=0.3")
    model, batch, codec = built(config, sounds([1200, 800]))
    task = config.task.build(codec)
    both = task.run(model, batch)
    written, places = (
        config.task.model_copy(update={"ctc": 0.0}).build(codec).losses(both.decoder, batch)
    )
    sums, same = task.losses(both, batch)
    assert places.tolist() == same.tolist()
    torch.testing.assert_close(sums, 0.7 * written + 0.3 * both.ctc.losses(batch.answer))
    torch.testing.assert_close(both.decoder, model(batch))
    metrics = task.metrics()
    task.update_metrics(metrics, batch, both, batch.answer.values)
    found = {name: value for metric in metrics for name, value in metric.compute().items()}
    assert found["exact_match"] == 1 and found["ctc_character_error"] > 0
