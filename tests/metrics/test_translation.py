"""BLEU, chrF and ROUGE are those of their packages over the whole corpus."""

from __future__ import annotations

import pytest
import sacrebleu
from rouge_score.rouge_scorer import RougeScorer

from attnlab.metrics.translation import Bleu, Chrf, Rouge

SAID = ["The cat sat on a mat.", "Hello there, world!", "It rains in Spain again today."]
GOLD = ["The cat sat on the mat.", "Hello world!", "Today it rains in Spain again."]
OTHER = ["A cat sat on the mat.", "Hello there world!", "It is raining in Spain again today."]


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
