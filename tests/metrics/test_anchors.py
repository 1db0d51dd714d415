"""Known figures on real gold data: read by other means, and met here to the last digit given."""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from attnlab.data.target import AttentionTarget
from attnlab.data.target_batch import collate_targets
from attnlab.datasets.targets import (
    alignment_target,
    fixation_target,
    parse_pharaoh,
    score_target,
    span_target,
)
from attnlab.metrics.agreement import KullbackLeibler, Spearman
from attnlab.metrics.controls import PositionPrior
from attnlab.metrics.links import Above, AlignmentErrorRate, Argmax
from attnlab.metrics.rationale import TokenF1
from attnlab.metrics.saliency import CorrelationCoefficient, Nss, Similarity

DATA = Path(__file__).parents[3] / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="no shared data beside the project")


def alone(target: AttentionTarget):
    return collate_targets([target], *target.weights.shape)


def test_a_plain_diagonal_aligns_the_hansards_with_an_error_of_0_531():
    sides = [
        (DATA / "hansards_align" / f"test.{side}").read_text().splitlines()
        for side in ("en", "fr", "align")
    ]
    metric = AlignmentErrorRate(Argmax(minimum=0.0))
    for english, french, line in zip(*sides, strict=True):
        sizes = len(english.split()), len(french.split())
        target = alignment_target(parse_pharaoh(line, 0), *sizes, keys="source")
        queries, keys = target.weights.shape
        place = np.round(np.arange(queries) * (keys - 1) / max(queries - 1, 1)).astype(int)
        weights = torch.zeros(1, queries, keys)
        weights[0, torch.arange(queries), torch.from_numpy(place)] = 1
        metric.update(weights, alone(target))
    assert metric.compute()["aer"] == pytest.approx(0.531, abs=5e-4)


def test_word_length_goes_with_reading_time_by_a_spearman_of_0_748():
    sentences = (DATA / "zuco_reading" / "sentences.txt").read_text().splitlines()
    with gzip.open(DATA / "zuco_reading" / "relfix_averages.txt.gz", "rt") as file:
        times = [[float(value) for value in line.split(",")] for line in file]
    metric = Spearman()
    for sentence, scores in zip(sentences, times, strict=True):
        lengths = torch.tensor([[[float(len(word)) for word in sentence.split()]]])
        metric.update(lengths, alone(score_target(scores)))
    figures = metric.compute()
    assert figures["spearman"] == pytest.approx(0.748, abs=5e-4)
    assert figures["spearman_undefined"] == pytest.approx(1 / 924)


def test_two_readers_of_film_reviews_agree_by_a_token_f1_of_0_533():
    folder = DATA / "eraser_movies"
    documents = zipfile.ZipFile(folder / "docs.zip")

    def evidences(name):
        with gzip.open(folder / name, "rt") as file:
            rows = [json.loads(line) for line in file]
        return {
            row["annotation_id"]: [
                (span["start_token"], span["end_token"])
                for group in row["evidences"]
                for span in group
                if span["start_token"] < span["end_token"]  # one span is empty
            ]
            for row in rows
        }

    first, second = evidences("test.jsonl.gz"), evidences("test_alt_annotation.jsonl.gz")
    metric = TokenF1(Above(times=1e-9))
    for name in first.keys() & second.keys():
        keys = len(documents.read(f"docs/{name}").split())
        gold, other = (
            span_target([[(a, min(b, keys)) for a, b in spans]], keys)
            for spans in (first[name], second[name])
        )
        metric.update(torch.from_numpy(other.weights)[None], alone(gold))
    assert metric.compute()["token_f1_macro"] == pytest.approx(0.533, abs=5e-4)


def test_the_centre_prior_of_gaze_scores_what_it_is_known_to_score():
    """Known, on other images of the same set: CC .305, NSS .842, KL 1.315, SIM .372."""
    with gzip.open(DATA / "osie" / "fixations.json.gz", "rt") as file:
        observers = json.load(file)

    def gaze(name):
        points = [[[x * 0.2, y * 0.2] for x, y, _ in each] for each in observers[name]]
        return fixation_target(points, height=120, width=160, sigma=4.8)

    names = sorted(observers)
    prior = PositionPrior.fit(gaze(name) for name in names[:150])
    metrics = [CorrelationCoefficient(), Nss(), KullbackLeibler(), Similarity()]
    for name in names[150:300]:
        target = alone(gaze(name))
        for metric in metrics:
            metric.update(prior.weights(target), target)
    known = {"cc": 0.305, "nss": 0.842, "kl_divergence": 1.315, "similarity": 0.372}
    for metric in metrics:
        interval = metric.intervals(confidence=0.999)[metric.figures[0]]
        assert interval.low <= known[metric.figures[0]] <= interval.high
