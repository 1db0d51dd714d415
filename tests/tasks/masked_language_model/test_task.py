"""Masked units: what is masked, what is scored, and that few labels profit from what is learned."""

from __future__ import annotations

import csv
import shlex
from pathlib import Path
from random import Random

import pytest
import torch
from torch import nn

from attnlab.attention.taps import Tap
from attnlab.data.batch import Batch
from attnlab.data.vocabulary import SPECIAL, UNKNOWN
from attnlab.errors import UserError
from attnlab.tasks.masked_language_model.task import MaskedLanguageModel
from attnlab.training.checkpoint import read_checkpoint
from tests.commands import REPOSITORY
from tests.models import pretrained
from tests.models import test_hf as hf
from tests.models.building import built, pictures, small_config, texts
from tests.runs import figures, ran

TASK = ("task=masked_language_model", "dataset=text")


def made(*overrides: str) -> tuple[nn.Module, Batch, MaskedLanguageModel]:
    config = small_config(*TASK, *overrides)
    model, batch, codec = built(config, texts([1] * 8, [40] * 7 + [30]))
    return model, batch, config.task.build(codec)


def test_shares_of_what_is_shown() -> None:
    _model, batch, task = made("task.mask_share=0.5")
    torch.manual_seed(0)
    units, mask = batch.inputs["text"]
    counts = {"masked": 0, "symbol": 0, "same": 0}
    for _ in range(50):
        shown, masked = task.masked(batch, training=True)
        read = shown.inputs["text"].values
        assert torch.equal(read[~masked], units[~masked]) and not masked[~mask].any()
        counts["masked"] += int(masked.sum())
        counts["symbol"] += int((read == UNKNOWN)[masked].sum())
        counts["same"] += int((read == units)[masked].sum())
    assert counts["masked"] / (50 * int(mask.sum())) == pytest.approx(0.5, abs=0.02)
    assert counts["symbol"] / counts["masked"] == pytest.approx(0.8, abs=0.02)
    assert 0.1 < counts["same"] / counts["masked"] < 0.15  # one of seven others is the same


def test_validation_masks_the_same_each_time_and_training_does_not() -> None:
    _, batch, task = made()
    again = [task.masked(batch, training=training)[1] for training in (False, False, True, True)]
    assert torch.equal(again[0], again[1]) and not torch.equal(again[2], again[3])


def test_losses_are_those_of_masked_units_alone() -> None:
    model, batch, task = made()
    scores = task.run(model, batch)
    sums, counts = task.losses(scores, batch)
    assert torch.equal(counts, scores.masked.sum(1))
    units = batch.inputs["text"].values
    for row in range(len(batch)):
        own = scores.masked.nonzero()[:, 0] == row
        right = nn.functional.cross_entropy(
            scores.scores[own], units[row][scores.masked[row]], reduction="sum"
        )
        torch.testing.assert_close(sums[row], right)
    answer = task.answer(model, batch)
    assert torch.equal(answer[~scores.masked], units[~scores.masked])


def test_no_position_attends_to_a_masked_one() -> None:
    model, batch, task = made("task.mask_share=0.5", "model=transformer", "attention=multihead")
    with Tap(model, "pooling") as tap:
        scores = task.run(model, batch)
    weights = tap.weights().mean(1)  # batch x length x keys
    assert weights.masked_fill(~scores.masked[:, None], 0).max() == 0


def test_a_pretrained_tokenizer_has_a_mask_of_its_own(tmp_path: Path) -> None:
    folder = pretrained.bert(tmp_path / "bert")
    config = hf.config_of(folder, *TASK)
    model, batch, codec = hf.built(config, [None, None, None])
    task = config.task.build(codec)
    task.mask_share = 0.9
    shown, masked = task.masked(batch, training=False)
    units = codec.answers.vocabulary.units  # type: ignore[union-attr]
    symbols = {units[number] for number in shown.inputs["text"].values[masked].tolist()}
    assert ("[MASK]" in symbols) is ("[MASK]" in units)
    assert (batch.inputs["text"].values[masked] >= len(SPECIAL)).all()  # never [CLS] or [SEP]
    assert task.run(model, batch).scores.shape == (int(masked.sum()), len(units))


def test_pictures_are_no_text() -> None:
    with pytest.raises(UserError, match=r"a language model learns one text"):
        built(small_config(*TASK), pictures([None, None]))


HERE = ("dataset.folder=", "dataset.vectors.path=", "paths.run=", "model.init=")
THINGS = ["soup", "film", "waiter", "room", "cake"]


def write(path: Path, rows: list[tuple[str, str]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])


def test_what_it_learns_from_unlabelled_texts_another_task_starts_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    random = Random(0)
    words = {
        "good": ["fine", "warm", "lovely", "bright", "kind"],
        "bad": ["dull", "cold", "awful", "grim", "rude"],
    }
    rows = [
        (
            f"the {random.choice(THINGS)} was {' and '.join(random.choices(words[label], k=2))}",
            label,
        )
        for label in ("good", "bad") * 200
    ]
    write(tmp_path / "texts.csv", rows)
    few = [row for row in rows if not {"cake", "kind", "rude", "fine", "grim"} & {*row[0].split()}]
    write(tmp_path / "few.csv", few)
    # The two commands of the page, with a smaller model and few steps.
    page = (REPOSITORY / "docs" / "few_labels.md").read_text(encoding="utf-8")
    block = page.partition("in two commands")[2].partition("    python ")[2].partition("\n\n")[0]
    commands = block.replace("\\\n", " ").split("python train.py")
    texts_words, labels_words = (shlex.split(c.removeprefix("train.py")) for c in commands)
    smaller = ("model.dim=32", "model.encoder_layers=1", "trainer.schedule.warmup_steps=10")

    def trained(words: list[str], *more: str) -> Path:
        others = [w for w in words if not w.startswith(HERE)]
        everything = (f"dataset.folder={tmp_path}", *smaller, "stages=[prepare,train,evaluate]")
        return ran(tmp_path / f"run{len(list(tmp_path.iterdir()))}", *others, *everything, *more)

    first = trained(texts_words, "trainer.max_epochs=10", "trainer.batches.size=32")
    learned = figures(first)
    unigram = learned["answer_controls"]["unigram"]["perplexity"]
    assert learned["answer"]["perplexity"] < unigram / 2  # half of the words tell the other half
    capsys.readouterr()
    still = ("trainer.max_steps=1", "trainer.optimizer.lr=1e-9")
    vectors = f"dataset.vectors.path={first / 'vectors.txt'}"
    then = trained(labels_words, f"model.init={first}", vectors, *still)
    # Its own texts hold 13 of the 18 words: it knows the others by the vectors.
    assert " 22 of 22 units; new: pooling, output\n" in capsys.readouterr().out
    before, after = (
        read_checkpoint(run / "checkpoints" / "last.ckpt")["state_dict"] for run in (first, then)
    )
    encoder = [name for name in after if name.startswith("model.reader.encoder.")]
    assert encoder
    for name in encoder:
        torch.testing.assert_close(after[name], before[name], atol=1e-6, rtol=0)
