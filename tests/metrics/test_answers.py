"""Labels against scikit-learn, spans against a plain reading of conlleval's rules."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    mean_absolute_error,
    mean_squared_error,
    precision_recall_fscore_support,
    r2_score,
)

from attnlab.metrics.answers import Classification, Regression, SpanF1, TokenAccuracy, tagged_spans

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


def test_classes_have_figures_of_their_own_and_what_they_were_taken_for() -> None:
    metric = Classification(["a", "b", "c"])
    gold, predicted = list("aaabbbbc"), list("aabbbcaa")
    for part in (slice(0, 3), slice(3, None)):
        metric.update(predicted[part], gold[part])
    found = metric.by_class()
    assert found["class"] == ["a", "b", "c"] and found["gold"] == [3, 4, 1]
    expected = precision_recall_fscore_support(gold, predicted, labels=["a", "b", "c"])
    for name, values in zip(("precision", "recall", "f1"), expected, strict=False):
        assert found[name] == pytest.approx(values)
    table = [found[f"as {name}"] for name in "abc"]  # predicted x gold
    assert np.array_equal(np.transpose(table), confusion_matrix(gold, predicted))


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


def numbers(seed: int, outputs: int, ties: bool):
    random = np.random.default_rng(seed)
    gold = 1e4 + random.normal(size=(80, outputs)) * 3
    predicted = gold + random.normal(size=gold.shape)
    return (gold.round(), predicted.round()) if ties else (gold, predicted)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("outputs", [1, 3])
def test_figures_are_those_of_scipy_and_scikit_learn(outputs, ties):
    gold, predicted = numbers(outputs, outputs, ties)
    metric = Regression()
    for part in (slice(0, 30), slice(30, 80)):
        metric.update(torch.from_numpy(predicted[part]), torch.from_numpy(gold[part]))
    pairs = list(zip(predicted.T, gold.T, strict=True))
    assert metric.compute() == pytest.approx(
        {
            "mse": mean_squared_error(gold, predicted),
            "absolute_error": mean_absolute_error(gold, predicted),
            "pearson_r": np.mean([pearsonr(*pair).statistic for pair in pairs]),
            "spearman_rho": np.mean([spearmanr(*pair).statistic for pair in pairs]),
            "r2": r2_score(gold, predicted),
        },
        rel=1e-6,
    )
    for interval in metric.intervals(resamples=100).values():
        assert interval.low < interval.mean < interval.high


def test_the_mean_of_gold_explains_nothing():
    gold, _ = numbers(0, 1, ties=False)
    metric = Regression()
    metric.update(torch.full((80, 1), float(gold.mean())), torch.from_numpy(gold))
    figures = metric.compute()
    assert figures["r2"] == pytest.approx(0, abs=1e-6)
    assert math.isnan(figures["pearson_r"]) and math.isnan(figures["spearman_rho"])


def test_unknown_numbers_do_not_count():
    gold, predicted = numbers(1, 2, ties=False)
    known, with_gaps = Regression(), Regression()
    known.update(torch.from_numpy(predicted), torch.from_numpy(gold))
    more = torch.cat([torch.from_numpy(gold), torch.full((5, 2), torch.nan).double()])
    guesses = torch.cat([torch.from_numpy(predicted), torch.zeros(5, 2).double()])
    with_gaps.update(guesses, more)
    assert with_gaps.compute() == pytest.approx(known.compute())


def test_spans_have_figures_by_type() -> None:
    metric = SpanF1()
    metric.update(["B-x I-x O B-y", "B-y O"], ["B-x I-x O B-x", "B-y B-z"])
    found = metric.by_class()
    assert found["class"] == ["x", "y", "z"] and found["gold"] == [2, 1, 1]
    assert found["precision"] == pytest.approx([1, 0.5, math.nan], nan_ok=True)
    assert found["recall"] == pytest.approx([0.5, 1, 0])
    assert found["f1"] == pytest.approx([2 / 3, 2 / 3, 0])
    metric.reset()
    metric.update(["O"], ["O"])
    assert metric.by_class()["class"] == []
