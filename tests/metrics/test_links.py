"""From maps to marks: each rule by its definition, and ties never by position."""

from __future__ import annotations

import pytest
import torch

from attnlab.metrics.links import Above, Argmax, Top

WEIGHTS = torch.tensor([[[0.1, 0.4, 0.2, 0.3, 0.9]]])
KEYS = torch.tensor([[[True, True, True, True, False]]])


def marked(rule, weights=WEIGHTS):
    return rule.links(weights, KEYS)[0, 0].nonzero().flatten().tolist()


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Argmax(minimum=0.0), [1]),
        (Argmax(minimum=0.5), []),
        (Above(times=1.0), [1, 3]),  # above 1/4
        (Above(times=0.5), [1, 2, 3]),
        (Top(share=0.5), [1, 3]),
        (Top(share=0.01), [1]),
        (Top(share=1.0), [0, 1, 2, 3]),
    ],
)
def test_rules_mark_visible_keys(rule, expected):
    assert marked(rule) == expected


def test_tied_keys_are_all_in_or_all_out():
    tied = torch.full((1, 1, 5), 0.25)
    assert marked(Argmax(minimum=0.0), tied) == [0, 1, 2, 3]
    assert marked(Top(share=0.25), tied) == [0, 1, 2, 3]
    assert marked(Above(times=1.0), tied) == []
