"""What an explanation is said to cost, against what it does cost."""

from __future__ import annotations

import pytest
import torch

from attnlab.explain.methods import explained, methods
from attnlab.explain.study import bytes_per_example, passes
from attnlab.explain.subject import Subject
from tests.explain.methods.test_maps import settings
from tests.explain.subjects import subject


@pytest.mark.parametrize(
    "name", ["integrated_gradients", "leave_one_out", "occlusion", "lime", "shap"]
)
def test_passes_are_counted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one = subject("transformer classify", (12, 12)).select(torch.tensor([0]))
    seen = 0
    scores = Subject.outcomes

    def counted(self: Subject, values: torch.Tensor | None = None) -> torch.Tensor:
        nonlocal seen
        seen += len(self)
        return scores(self, values)

    monkeypatch.setattr(Subject, "outcomes", counted)
    explained(methods(settings())[name], one)
    assert seen == passes([name], keys=12, samples=16, steps=3)


@pytest.mark.parametrize("case", ["recurrent classify", "transformer generate", "picture"])
def test_memory_grows_with_the_input_and_is_that_of_the_longest(case: str) -> None:
    short, long = (bytes_per_example(subject(case, lengths)) for lengths in ((3, 3), (3, 30)))
    assert short > 1000
    assert long > 3 * short or case == "picture"
