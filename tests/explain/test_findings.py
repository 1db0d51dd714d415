"""Agreement against scipy and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau
from sklearn.metrics import average_precision_score

from attnlab.data.target import AttentionTarget
from attnlab.data.target_batch import collate_targets
from attnlab.explain.findings import Agreement, who_decides, with_rows
from attnlab.explain.methods import explained
from attnlab.explain.methods.gradients import gradient_input
from attnlab.explain.methods.perturbation import leave_one_out
from attnlab.metrics.figures import Interval
from tests.explain.subjects import subject


def test_agreement_by_hand() -> None:
    asked = subject("transformer tag", (7, 5, 6))
    methods = {"one": gradient_input, "other": leave_one_out}
    scores = {name: explained(method, asked) for name, method in methods.items()}
    scores["flat"] = torch.ones_like(scores["one"])
    random = np.random.default_rng(0)
    marks = [random.random((length + 1, length)) < 0.4 for length in (7, 5, 6)]  # with an end mark
    targets = [
        AttentionTarget(m.astype(np.float32), m.any(1), np.ones(m.shape[1], bool)) for m in marks
    ]
    batch = collate_targets(targets, 8, 7)
    agreement = Agreement()
    agreement.update(scores, asked, batch)

    taus, precisions = [], []
    for i, length in enumerate((7, 5, 6)):
        rows = []
        for query in range(length):
            one, other = (scores[n][i, query, :length].abs() for n in ("one", "other"))
            rows.append(kendalltau(one, other).statistic)
        taus.append(np.mean(rows))
        for query in range(length):
            if marks[i][query].any():
                values = scores["one"][i, query, :length]
                precisions.append(average_precision_score(marks[i][query], values))
    between = agreement.between()
    value, undefined = between["one", "other"]
    assert value.mean == pytest.approx(np.mean(taus), abs=1e-6)
    assert undefined == 0
    assert between["one", "flat"][1] == 7 + 5 + 6
    assert np.isnan(between["one", "flat"][0].mean)
    # The row of the end mark has no decision: all its scores are ties.
    ends = [marks[i][-1].mean() for i in range(3) if marks[i][-1].any()]
    found = agreement.against_gold()["one"].mean
    assert found == pytest.approx(np.mean([*precisions, *ends]), abs=1e-6)


def test_without_gold_there_is_no_agreement_with_it() -> None:
    asked = subject("recurrent classify")
    agreement = Agreement()
    agreement.update({"one": gradient_input(asked)}, asked, asked.batch.target)
    assert agreement.against_gold() == {}


def test_rows_are_added_or_left_out() -> None:
    scores = torch.ones(2, 3, 4)
    assert with_rows(scores, 5)[:, 3:].sum() == 0
    assert with_rows(scores, 5).shape == (2, 5, 4)
    assert with_rows(scores, 2).shape == (2, 2, 4)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.0, 0.04, "the attention is not what decides"),
        (0.04, 0.06, "the attention is not what decides, or takes part in the decision"),
        (0.1, 0.4, "the attention takes part in the decision"),
        (0.49, 0.6, "the attention takes part in the decision, or decides"),
        (0.6, 1.0, "the attention decides"),
    ],
)
def test_a_verdict_does_not_turn_at_a_hair(low: float, high: float, verdict: str) -> None:
    assert who_decides(Interval((low + high) / 2, low, high)) == verdict
