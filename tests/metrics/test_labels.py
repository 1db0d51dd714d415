"""Labels against scikit-learn, spans against a plain reading of conlleval's rules."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score

from attnlab.metrics.labels import Classification, SpanF1, TokenAccuracy, tagged_spans

TAGS = st.lists(st.sampled_from(["O", "B-X", "I-X", "B-Y", "I-Y"]), max_size=12)


def equally_long(pair):
    """Both cut to the length of the shorter."""
    shorter = min(map(len, pair))
    return pair[0][:shorter], pair[1][:shorter]


@pytest.mark.parametrize("seed", range(4))
def test_accuracy_and_macro_f1_are_those_of_scikit_learn(seed):
    random = np.random.default_rng(seed)
    labels = ["a", "b", "c", "d", "never"]
    said, gold = random.choice(labels[:4], 30).tolist(), random.choice(labels[:3], 30).tolist()
    metric = Classification(labels)
    metric.update(said[:7], gold[:7])
    metric.update(said[7:], gold[7:])
    assert metric.compute() == pytest.approx(
        {"accuracy": accuracy_score(gold, said), "f1_macro": f1_score(gold, said, average="macro")}
    )
    interval = metric.intervals(resamples=200)["f1_macro"]
    assert interval.low < interval.mean < interval.high


def test_a_label_never_seen_before_is_wrong():
    metric = Classification(["a", "b"])
    metric.update(["a", "?"], ["a", "b"])
    assert metric.compute() == pytest.approx({"accuracy": 0.5, "f1_macro": 0.5})


def test_token_accuracy_counts_units_not_examples():
    metric = TokenAccuracy()
    answers = torch.tensor([[1, 2, 3], [1, 0, 0]])
    mask = torch.tensor([[True, True, True], [True, False, False]])
    metric.update(torch.tensor([[1, 2, 9], [9, 0, 0]]), answers, mask)
    assert metric.compute()["token_accuracy"] == 0.5


def spans_by_rule(tags):
    """A unit begins a span if it is B, or I after something that is not of its type; a span goes
    on over every following I of its type."""
    spans = set()
    for i, tag in enumerate(tags):
        before = tags[i - 1] if i else "O"
        if tag == "O" or (tag[0] == "I" and before[1:] == tag[1:]):
            continue
        end = i + 1
        while end < len(tags) and tags[end] == "I" + tag[1:]:
            end += 1
        spans.add((tag[2:], i, end))
    return spans


@given(TAGS)
def test_spans_are_read_as_conlleval_reads_them(tags):
    assert tagged_spans(tags) == spans_by_rule(tags)
    assert tagged_spans(" ".join(tags)) == spans_by_rule(tags)


def test_span_f1_wants_both_ends_and_the_type():
    gold = ["B-X I-X O B-Y", "O O", "I-X O"]
    said = ["B-X I-X O B-X", "O B-Y", "B-X O"]  # right; wrong type; from nothing; right
    metric = SpanF1()
    metric.update(said, gold)
    expected = {"span_f1": 2 * 2 / (4 + 3), "span_precision": 2 / 4, "span_recall": 2 / 3}
    assert metric.compute() == pytest.approx(expected)


@given(st.lists(st.tuples(TAGS, TAGS).map(equally_long), min_size=1, max_size=4))
def test_span_f1_is_that_of_seqeval(pairs):
    seqeval = pytest.importorskip("seqeval.metrics")
    said, gold = ([list(side) for side in sides] for sides in zip(*pairs, strict=True))
    metric = SpanF1()
    metric.update(said, gold)
    figures = {name: np.nan_to_num(value) for name, value in metric.compute().items()}
    assert figures["span_f1"] == pytest.approx(seqeval.f1_score(gold, said, zero_division=0))
    recall = seqeval.recall_score(gold, said, zero_division=0)
    assert figures["span_recall"] == pytest.approx(recall)
