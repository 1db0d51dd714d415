"""`model=auto`: what is chosen for files of one's own, what of it a user can set, and when not."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from attnlab.cli import main
from attnlab.config.compose import load
from attnlab.errors import ConfigError
from tests.datasets.readers.media import save_picture, wav

COLOURS = ("red", "green", "blue")
QUICK = ("trainer.progress=false", "trainer.max_epochs=1", "logger=files", "model.dim=16")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of labelled texts, and one of tagged words."""
    folder = tmp_path_factory.mktemp("own")
    with (folder / "train.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["text", "label"])
        rows.writerows([f"a {COLOURS[n % 3]} house {n}", COLOURS[n % 3]] for n in range(90))
    tagged = (
        {"text": ["Ann", "sees", f"Bob{n}"], "tag": ["B-per", "O", "B-per"]} for n in range(60)
    )
    (folder / "tags.jsonl").write_text("".join(json.dumps(row) + "\n" for row in tagged))
    return folder


def words(folder: Path, *more: str, task: str = "classify") -> list[str]:
    return ["dataset=files", f"dataset.folder={folder}", f"task={task}", *more]


def tagging(folder: Path, *more: str) -> list[str]:
    reader = ("dataset/reader=jsonl", "dataset.splits.train=tags.jsonl", "dataset/answer=tags")
    return words(folder, *reader, *more, task="tag")


def composed(*given: str) -> dict[str, Any]:
    return load(given)[1]


def test_files_of_ones_own_get_settings_that_fit(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = composed(*words(folder))
    assert plain["dataset"]["tokenizer"]["letters"] is True
    assert plain["trainer"]["checkpoints"]["monitor"] == "val/accuracy"
    assert plain["trainer"]["callbacks"]["early_stopping"]["patience"] > 0
    assert plain == composed(*words(folder, "model=auto"))
    said = capsys.readouterr().err
    assert said.count("model=auto: 72 texts of 4 words -> ") == 1
    assert "dropout=0.5" in said and "attnlab[hf]" in said
    numbers = composed(*words(folder, "dataset/answer=number", task="regress"))
    assert numbers["trainer"]["checkpoints"]["monitor"] == "val/r2"
    assert numbers["model"] == plain["model"]


def test_sounds_and_pictures_get_settings_of_their_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(40):
        label = tmp_path / COLOURS[number % 2]
        label.mkdir(exist_ok=True)
        save_picture(label / f"{number}.png", np.full((4, 4), number))
        (label / f"{number}.wav").write_bytes(wav(np.sin(np.arange(800.0) + number), 8000))
    own = (f"dataset.folder={tmp_path}", "task=classify")
    sounds = composed("dataset=sounds", *own)
    assert set(sounds["dataset"]["augment"]) == {"tempo", "noise"}
    assert sounds["model"]["audio"]["strides"] == [2, 2]
    assert sounds["trainer"]["checkpoints"]["monitor"] == "val/accuracy"
    pictures = composed("dataset=pictures", *own, "trainer.optimizer.lr=0.5")
    assert set(pictures["dataset"]["augment"]) == {"affine"}
    assert pictures["trainer"]["optimizer"]["lr"] == 0.5, "set by the user"
    said = capsys.readouterr().err
    assert "model=auto: 32 sounds -> " in said and "model=auto: 32 pictures -> " in said
    assert "attnlab[hf]" not in said
    kept = composed("dataset=sounds", *own, "dataset.augment={}")
    assert kept["dataset"]["augment"] == {}


def test_long_texts_are_read_without_an_encoder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"{'word ' * 300}{COLOURS[n % 3]},{COLOURS[n % 3]}" for n in range(50)]
    (tmp_path / "train.csv").write_text("\n".join(["text,label", *rows]))
    plain = composed(*words(tmp_path))
    assert plain["model"]["encoder_layers"] == 0 and plain["model"]["unit_dropout"] == 0.5
    assert plain["dataset"]["tokenizer"]["letters"] is False
    assert "model=auto: 40 texts of 301 words -> " in capsys.readouterr().err
    assert composed(*words(tmp_path, "model.encoder_layers=1"))["model"]["encoder_layers"] == 1


def pairs(folder: Path, sources: list[str], targets: list[str]) -> list[str]:
    """A table of texts and what is written for each, and the words that read it."""
    with (folder / "pairs.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerows([["source", "target"], *zip(sources, targets, strict=True)])
    own = ("dataset.splits.train=pairs.csv", "dataset/answer=text", "dataset.inputs.text=source")
    return words(folder, *own, "dataset.answer.column=target", task="generate")


def test_short_answers_are_written_by_characters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    days = [f"{1900 + n}-0{n % 9 + 1}-11" for n in range(100)]
    plain = composed(*pairs(tmp_path, [f"on {day}" for day in days], days))
    assert plain["dataset"]["tokenizer"]["kind"] == "characters"
    assert plain["dataset"]["words"]["split"] == "spaces", "nothing is lost between words"
    assert plain["task"]["decoding"]["kind"] == "beam"
    assert plain["task"]["figures"][0] == "exact_match", "words of one text have no BLEU"
    assert plain["trainer"]["checkpoints"]["monitor"] == "val/exact_match"
    assert "80 texts of 2 words -> task/decoding=beam dataset/tokeniz" in capsys.readouterr().err


def test_texts_with_new_words_are_written_by_pieces_and_others_by_words(tmp_path: Path) -> None:
    named = [f"the house of name{n} is large and old" for n in range(200)]
    plain = composed(*pairs(tmp_path, named, named))
    assert plain["dataset"]["tokenizer"]["kind"] == "bpe"
    assert plain["dataset"]["tokenizer"]["joint"] is True and plain["model"]["dim"] == 256
    assert plain["trainer"]["checkpoints"]["monitor"] == "val/bleu"
    kept = composed(*pairs(tmp_path, named, named), "dataset/tokenizer=words")
    assert kept["dataset"]["tokenizer"]["kind"] == "words" and kept["model"]["dim"] == 256
    closed = [f"the house of {COLOURS[n % 3]} stones is large and old" for n in range(200)]
    plain = composed(*pairs(tmp_path, closed, closed))
    assert plain["dataset"]["tokenizer"]["kind"] == "words"
    assert plain["model"]["dropout"] == 0.3 and plain["model"]["tie"] == "output"


def history(folder: Path, *more: str, again: int = 0) -> list[str]:
    """A log of twenty people, of whom some choose an item again."""
    with (folder / "log.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["user", "item", "time"])
        for user in range(20):
            items = [*range(user, user + 8), *([user] * again)]
            rows.writerows([f"u{user}", f"i{item}", n] for n, item in enumerate(items))
    return ["dataset=interactions", f"dataset.folder={folder}", "task=rank", *more]


def test_histories_get_a_model_that_learns_at_every_item(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = composed(*history(tmp_path))
    assert plain["model"]["kind"] == "transformer" and plain["attention"]["name"] == "alibi"
    assert plain["task"]["learn"] == "every_position" and plain["task"]["repeats"] is False
    assert plain["trainer"]["checkpoints"]["monitor"] == "val/ndcg@10"
    said = capsys.readouterr().err
    assert said.startswith("attnlab: model=auto: 20 histories of 8 items -> model=transformer ")
    assert composed(*history(tmp_path, again=2))["task"]["repeats"] is True
    assert composed(*history(tmp_path, "attention=rope"))["attention"]["name"] == "rope"


def test_keys_of_another_model_keep_it(tmp_path: Path) -> None:
    """A Transformer has no cell; what else is chosen has to fit the model that stays."""
    plain = composed(*history(tmp_path, "model.cell=gru"))
    assert (plain["model"]["kind"], plain["model"]["cell"]) == ("recurrent", "gru")
    assert plain["model"]["bidirectional"] is False
    assert plain["task"]["learn"] == "every_position"


def test_a_run_of_a_log_uses_what_was_chosen(tmp_path: Path) -> None:
    run = tmp_path / "run"
    paths = [f"paths.run={run}", f"paths.prepared={tmp_path / 'prepared'}"]
    assert main(["train", *history(tmp_path), *QUICK, *paths]) == 0
    figures = json.loads((run / "metrics.json").read_text())
    assert set(figures["answer_controls"]) == {"popularity", "markov", "item_neighbours"}
    kept = yaml.safe_load((run / "config.yaml").read_text())
    assert (kept["model"]["kind"], kept["model"]["dim"]) == ("transformer", 16)


def test_tags_get_a_chain_and_the_figure_that_fits_them(folder: Path) -> None:
    plain = composed(*tagging(folder))
    assert plain["task"]["crf"] is True
    assert plain["trainer"]["checkpoints"]["monitor"] == "val/span_f1"


@pytest.mark.parametrize(
    ("word", "key", "value"),
    [
        ("model.dropout=0.1", "model.dropout", 0.1),
        ("trainer.callbacks.ema=null", "trainer.callbacks.ema", None),
        ("trainer/optimizer=sgd", "trainer.optimizer.lr", 0.1),
        ("dataset.tokenizer.letters=false", "dataset.tokenizer.letters", False),
        ("dataset/tokenizer=bpe", "dataset.tokenizer.kind", "bpe"),
        ("dataset.tokenizer.joint=true", "dataset.tokenizer.letters", True),
        ("+trainer.callbacks.swa=null", "trainer.callbacks.swa", None),
    ],
)
def test_what_a_user_sets_wins(folder: Path, word: str, key: str, value: Any) -> None:
    found: Any = composed(*words(folder, word))
    for part in key.split("."):
        found = found[part]
    assert found == value


def test_letters_are_of_words_that_are_read(folder: Path) -> None:
    written = ["dataset/answer=text", "dataset.answer.column=label", "task=generate"]
    with pytest.raises(ConfigError, match="read alone; try letters=false"):
        load([*words(folder)[:2], *written, "dataset.tokenizer.letters=true"])


def test_it_depends_on_how_much_there_is(folder: Path, tmp_path: Path) -> None:
    few = composed(*words(folder))["trainer"]
    rows = (folder / "train.csv").read_text().splitlines()
    (tmp_path / "train.csv").write_text("\n".join([rows[0], *rows[1:] * 300]) + "\n")
    many = composed(*words(tmp_path))["trainer"]
    assert few["max_epochs"] > many["max_epochs"]
    assert few["batches"]["size"] < many["batches"]["size"]


@pytest.mark.parametrize("word", ["model=recurrent", "model=transformer", "experiment=reviews"])
def test_a_model_or_an_experiment_that_is_named_stays_as_it_is(folder: Path, word: str) -> None:
    plain = composed(*words(folder, word))
    assert plain["trainer"]["callbacks"]["ema"] is None
    assert plain["dataset"]["tokenizer"]["letters"] is False


def test_other_data_are_left_alone() -> None:
    assert composed("dataset=reviews", "task=classify")["trainer"]["callbacks"]["ema"] is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("model=auto",), "task=classify | generate | rank | regress | tag; try: model=recurrent"),
        (("model=auto", "experiment=reviews"), "an experiment has settings of its own"),
    ],
)
def test_where_there_is_no_recipe_it_says_so(given: tuple[str, ...], said: str) -> None:
    with pytest.raises(ConfigError, match="model: 'auto'") as error:
        load(given)
    assert said.replace("\\", "") in str(error.value)


def test_a_run_keeps_what_was_chosen(folder: Path, tmp_path: Path) -> None:
    """From the command line, with YAML files of one's own; evaluating chooses nothing again."""
    own = tmp_path / "conf" / "dataset"
    own.mkdir(parents=True)
    dataset = {"defaults": ["files", "_self_"], "name": "mine", "folder": str(folder)}
    (own / "mine.yaml").write_text(yaml.safe_dump(dataset))
    run = tmp_path / "run"
    command = ["train", "--config-dir", str(tmp_path / "conf"), "dataset=mine", "task=classify"]
    paths = [f"paths.run={run}", f"paths.prepared={tmp_path / 'prepared'}"]
    assert main([*command, *QUICK, *paths, "stages=[prepare,train]"]) == 0
    kept = yaml.safe_load((run / "config.yaml").read_text())
    assert kept["model"]["dim"] == 16 and kept["model"]["dropout"] == 0.5
    assert kept["dataset"]["tokenizer"]["letters"] is True
    (folder / "train.csv").touch()
    assert main(["predict", str(run), "a red house 1"]) == 0


def test_a_pretrained_model_has_settings_of_its_own(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = ("model=hf", "model.name=none")
    plain = composed(*words(folder, *named))
    assert plain["model"]["lr_factor"] < 1 and plain["trainer"]["max_epochs"] == 20
    assert plain["trainer"]["checkpoints"]["monitor"] == "val/accuracy"
    assert plain["dataset"]["tokenizer"]["letters"] is False  # it has a tokenizer of its own
    said = capsys.readouterr().err
    assert said.startswith("attnlab: model=hf: 72 texts of 4 words -> ") and "pip" not in said
    assert composed(*words(folder, *named, "model/tuning=lora"))["model"]["lr_factor"] == 1
    assert composed(*words(folder, *named, "model.lr_factor=0.5"))["model"]["lr_factor"] == 0.5
