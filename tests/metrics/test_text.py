"""Exact match and error rates against a library's edit distance; perplexity by definition."""

from __future__ import annotations

import numpy as np
import pytest
import sacrebleu
import torch
from hypothesis import given
from hypothesis import strategies as st
from nltk.metrics.distance import edit_distance as nltk_distance
from rouge_score.rouge_scorer import RougeScorer

from attnlab.metrics.text import (
    Bleu,
    CharacterError,
    Chrf,
    ExactMatch,
    Perplexity,
    Rouge,
    WordError,
    edit_distance,
)

SAID = ["The cat sat on a mat.", "Hello there, world!", "It rains in Spain again today."]
GOLD = ["The cat sat on the mat.", "Hello world!", "Today it rains in Spain again."]
OTHER = ["A cat sat on the mat.", "Hello there world!", "It is raining in Spain again today."]


@given(st.text("abc", max_size=12), st.text("abc", max_size=12))
def test_edit_distance_is_that_of_nltk(first, second):
    assert edit_distance(first, second) == nltk_distance(first, second)


def test_rates_are_pooled_over_the_corpus():
    said = ["2026-11-21", "2026-11-2", "", "a b d"]
    gold = ["2026-11-21", "2026-11-21", "ab", "a b c d"]
    figures = {}
    for metric in (ExactMatch(), CharacterError(), WordError()):
        metric.update(said[:2], gold[:2])
        metric.update(said[2:], gold[2:])
        figures |= metric.compute()
    assert figures["exact_match"] == 0.25
    assert figures["character_error"] == pytest.approx((0 + 1 + 2 + 2) / (10 + 10 + 2 + 7))
    assert figures["word_error"] == pytest.approx((0 + 1 + 1 + 1) / (1 + 1 + 1 + 4))


def test_any_of_several_references_will_do():
    exact, character = ExactMatch(), CharacterError()
    for metric in (exact, character):
        metric.update(["colour", "gray"], [["color", "colour"], ["green", "grey"]])
    assert exact.compute()["exact_match"] == 0.5
    assert character.compute()["character_error"] == pytest.approx(1 / (6 + 4))


def test_perplexity_is_pooled_over_units():
    metric = Perplexity()
    metric.update(torch.tensor([2.0, 4.5]), torch.tensor([2, 4]))
    metric.update(torch.tensor([9.0]), torch.tensor([3]))
    nats = 15.5 / 9
    figures = metric.compute()
    assert figures["perplexity"] == pytest.approx(np.exp(nats))
    assert figures["bits_per_unit"] == pytest.approx(nats / np.log(2))
    assert metric.higher_is_better is False
    interval = metric.intervals(resamples=100)["perplexity"]
    assert interval.low < interval.mean < interval.high


def filled(metric, references):
    metric.update(SAID[:1], references[:1])
    metric.update(SAID[1:], references[1:])
    return metric.compute()


@pytest.mark.parametrize("several", [False, True])
def test_bleu_and_chrf_are_sacrebleus_corpus_figures(several):
    references = list(zip(GOLD, OTHER, strict=True)) if several else GOLD
    streams = [GOLD, OTHER] if several else [GOLD]
    bleu = filled(Bleu(tokenize="13a"), references)["bleu"]
    chrf = filled(Chrf(word_order=2), references)["chrf"]
    assert bleu == pytest.approx(sacrebleu.corpus_bleu(SAID, streams).score)
    assert chrf == pytest.approx(sacrebleu.corpus_chrf(SAID, streams, word_order=2).score)


def test_bleu_is_not_the_mean_of_sentence_bleus():
    said = ["A long sentence that is entirely right.", "no"]
    gold = [said[0], "yes"]
    metric = Bleu(tokenize="13a")
    metric.update(said, gold)
    mean = sum(sacrebleu.sentence_bleu(s, [g]).score for s, g in zip(said, gold, strict=True)) / 2
    assert mean == pytest.approx(50)
    assert metric.compute()["bleu"] > 80


def test_the_interval_of_bleu_resamples_segments():
    metric = Bleu(tokenize="13a")
    metric.update(SAID, GOLD)
    interval = metric.intervals(resamples=100)["bleu"]
    assert interval.low < interval.mean < interval.high
    assert "tok:13a" in metric.signature


def test_rouge_is_the_mean_of_best_f_scores():
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"])
    figures = filled(Rouge(stem=False), list(zip(GOLD, OTHER, strict=True)))
    for name, value in figures.items():
        best = [
            max(scorer.score(g, s)[name].fmeasure, scorer.score(o, s)[name].fmeasure)
            for s, g, o in zip(SAID, GOLD, OTHER, strict=True)
        ]
        assert value == pytest.approx(sum(best) / 3)
