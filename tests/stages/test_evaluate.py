"""`attnlab evaluate`: figures again with other settings, a test split never held whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from attnlab.cli import main
from attnlab.data.batch import Batch
from attnlab.models.ensemble import members
from attnlab.report import example_choice, examples
from attnlab.report.examples import load_examples
from attnlab.report.remarks import lost_to_peer
from attnlab.stages import evaluated_split
from attnlab.stages.evaluate import folder_name
from attnlab.stages.evaluated_split import _batches
from attnlab.stages.prepare import prepared_data
from attnlab.stages.run import open_run
from attnlab.stages.trained_run import TrainedEnsemble, TrainedRun, answering
from attnlab.training.checkpoint import read_checkpoint
from tests.runs import SHORT, ran

SIZES = ("dataset.train=64", "dataset.val=8", "dataset.test=12")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    few = ("stages=[prepare,train,evaluate]", "model.dim=16")
    return ran(tmp_path_factory.mktemp("evaluated"), *SHORT, *SIZES, *few)


@pytest.fixture(scope="module")
def other(tmp_path_factory) -> Path:
    """On the same data, of another kind and not evaluated."""
    few = ("stages=[prepare,train]", "model=transformer", "model.dim=8")
    return ran(tmp_path_factory.mktemp("other"), *SHORT, *SIZES, *few)


def test_figures_with_other_settings_lie_beside_the_first(run, capsys):
    first = (run / "metrics.json").read_bytes()
    words = ["metrics/links=top", "metrics.links.share=0.35", "metrics.figures=[token_f1]"]
    assert main(["evaluate", str(run), *words, "--name", "top"]) == 0
    assert "token_f1" in capsys.readouterr().out
    assert (run / "metrics.json").read_bytes() == first
    figures = json.loads((run / "evaluations" / "top" / "metrics.json").read_text())
    assert next(iter(figures["attention"])) == "token_f1"
    assert figures["answer"] == pytest.approx(json.loads(first)["answer"])
    oracle, uniform = (figures["controls"][name]["token_f1"] for name in ("oracle", "uniform"))
    assert uniform <= figures["attention"]["token_f1"] <= oracle or uniform < oracle
    assert figures["about"]["token_f1"]["higher_is_better"] is True
    assert json.loads(first)["about"]["loss"]["higher_is_better"] is False


def test_the_test_split_of_other_data(run, capsys):
    """The same examples give the same figures; others are read in the run's own units."""
    first = json.loads((run / "metrics.json").read_text())
    assert main(["evaluate", str(run), "dataset.train=8", "--name", "same"]) == 0
    same = json.loads((run / "evaluations" / "same" / "metrics.json").read_text())
    assert same["answer"] == pytest.approx(first["answer"])
    assert same["attention"] == pytest.approx(first["attention"])
    words = ["dataset.test=30", "dataset.seed=9"]
    assert main(["evaluate", str(run), *words, "--name", "other"]) == 0
    other = json.loads((run / "evaluations" / "other" / "metrics.json").read_text())
    assert other["answer"] != first["answer"]
    shown = capsys.readouterr().out
    own, here = (each["answer"]["exact_match"] for each in (first, other))
    assert f"exact_match: {here:.4f} here, {own:.4f} on its own data" in shown
    assert main(["evaluate", str(run), "dataset=reviews"]) == 2
    assert "attnlab: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("metrics.links.shar=0.3", "metrics.links.shar: unknown key"),
        ("model.dim=8", "model.dim: cannot be changed in a trained run; these can be: metrics"),
        ("metrics/links=topp", "metrics/links: no option 'topp'; did you mean 'top'"),
        (
            "metrics.figures=[aerr]",
            "metrics.figures.0.kind: unknown kind 'aerr'; did you mean",
        ),
        ("share", "share: not of the form key=value"),
    ],
)
def test_a_wrong_setting_is_one_line(run, setting, said, capsys):
    assert main(["evaluate", str(run), setting]) == 2
    assert said in capsys.readouterr().err


def test_examples_are_encoded_batch_by_batch(run, monkeypatch):
    opened = open_run(run)
    prepared = prepared_data(opened.config)
    encoded, encode = [], type(prepared.codec).encode

    def counted(self, example, index):
        encoded.append(index)
        return encode(self, example, index)

    monkeypatch.setattr(type(prepared.codec), "encode", counted)
    batches = _batches(opened, prepared, torch.device("cpu"))
    next(batches)
    assert len(encoded) == opened.config.trainer.batches.eval_size
    assert len(list(batches)) == 2


def test_names_of_folders_tell_settings_apart():
    assert folder_name(["metrics.links.share=0.35"]) == "metrics.links.share=0.35"
    long = [f"metrics.figures=[{'aer,' * 40}{i}]" for i in range(2)]
    assert folder_name(long[:1]) != folder_name(long[1:])
    assert len(folder_name(long)) <= 80


def test_a_model_that_loses_to_simple_ones_is_told_the_best_of_them():
    controls = {"popularity": {"hr@10": 0.08}, "markov": {"hr@10": 0.14, "mrr": 0.9}}
    about = {"hr@10": {"higher_is_better": True}}
    figures = {"answer": {"hr@10": 0.1, "mrr": 0.1}, "answer_controls": controls, "about": about}
    (line,) = lost_to_peer(figures)
    assert line.startswith("hr@10 0.1000 is behind what most often came after the last item (0.14")


def test_a_model_that_loses_to_a_linear_one_is_told_so():
    def lines(own: float, linear: float) -> list[str]:
        controls = {"majority": {"accuracy": 0.9}, "linear": {"accuracy": linear, "f1_macro": 0.9}}
        figures = {
            "answer": {"loss": 1.0, "accuracy": own, "f1_macro": 0.1},
            "answer_controls": controls,
            "about": {"accuracy": {"higher_is_better": True}},
        }
        return list(lost_to_peer(figures))

    (line,) = lines(0.758, 0.89)
    assert line.startswith("accuracy 0.7580 is behind a linear model (0.8900), which learns from")
    assert lines(0.89, 0.89) == []
    assert list(lost_to_peer({"answer": {"loss": 1.0}, "answer_controls": {}})) == []


def test_several_runs_are_evaluated_as_one(run, other, capsys):
    assert main(["evaluate", str(run), str(other), "--name", "both", "--combine", "logits"]) == 0
    printed = capsys.readouterr().out
    figures = json.loads((run / "evaluations" / "both" / "metrics.json").read_text())
    alone = json.loads((run / "metrics.json").read_text())
    assert figures["cost"]["parameters"] > alone["cost"]["parameters"]
    assert figures["answer"]["loss"] != alone["answer"]["loss"]
    assert f"each alone {alone['answer']['exact_match']:.4f}" in printed
    heads = json.loads((run / "evaluations" / "both" / "heads.json").read_text())
    assert heads == []


def test_several_runs_predict_as_one(run, other, capsys):
    def scores(*folders: Path) -> list[float]:
        words = ["--limit", "3", "--output", "-", "--no-maps"]
        assert main(["predict", *map(str, folders), *words]) == 0
        lines = capsys.readouterr().out.splitlines()
        return [json.loads(line)["predictions"][0]["score"] for line in lines]

    assert scores(run, run) == pytest.approx(scores(run), abs=1e-4)
    assert scores(run, other) != pytest.approx(scores(run), abs=1e-4)


def test_runs_on_different_data_are_no_ensemble(run, tmp_path, capsys):
    few = ("stages=[prepare,train]", "model.dim=8", "dataset.train=32", *SIZES[1:])
    stranger = ran(tmp_path, *SHORT, *few)
    assert main(["predict", str(run), str(stranger), "--output", "-"]) == 2
    error = capsys.readouterr().err
    assert "cannot answer together" in error and "the hash of its data" in error


def test_one_annotator_stands_beside_the_model(tmp_path: Path, capsys) -> None:
    """Both mark `good` or `bad`; the second one also what stands before it."""
    rows = []
    for number in range(24):
        word, at = ("good", "bad")[number % 2], number % 3 + 1
        text = ["w"] * 5
        text[at] = word
        marks = {"ann": [[at, at + 1]], "ben": [[at - 1, at + 1]]}
        row = {"text": " ".join(text), "label": word, "gold": marks}
        rows.append(json.dumps(row))
    (tmp_path / "a.jsonl").write_text("\n".join(rows) + "\n")
    words = ["dataset=files", f"dataset.folder={tmp_path}", "dataset/reader=jsonl", "~experiment"]
    words += ["dataset.splits={train: a.jsonl, val: a.jsonl, test: a.jsonl}", "dataset/gold=spans"]
    words += ["dataset.gold.column=gold", "task=classify", "metrics=rationale", "model.dim=8"]
    few = ("stages=[prepare,train,evaluate]", "trainer.batches.size=8", "trainer.max_epochs=1")
    folder = ran(tmp_path, *words, *few, "metrics.figures=[mass_on_gold,average_precision]")
    figures = json.loads((folder / "metrics.json").read_text())
    assert figures["controls"]["annotator"]["mass_on_gold"] == pytest.approx((1 + 1 / 2) / 2)
    assert figures["controls"]["oracle"]["mass_on_gold"] == pytest.approx(1)
    assert "mass_on_gold against the others" in capsys.readouterr().out


def test_one_run_answers_as_several(tmp_path: Path, capsys) -> None:
    """At the end of each cycle its weights are kept; and dropout makes models of it."""
    words = ["experiment=reviews", "dataset.train=48", "dataset.val=8", "dataset.test=12"]
    words += ["stages=[prepare,train,evaluate]", "model.dim=8", "model.dropout=0.5", "seed=3"]
    words += ["trainer/schedule=cycles", "trainer.schedule.count=3", "trainer.max_epochs=2"]
    words += ["trainer.schedule.warmup_steps=2", "trainer.batches.size=8", "trainer.accumulate=2"]
    run = ran(tmp_path, *words, "trainer/callbacks=snapshots", "metrics.figures=[mass_on_gold]")
    paths = sorted((run / "checkpoints").glob("snapshot-*.ckpt"))
    contents = [read_checkpoint(path) for path in paths]
    assert [content["global_step"] for content in contents] == [3, 5, 6]
    assert "optimizer_states" not in contents[0]
    opened = open_run(run)
    together = answering([opened], "probabilities", snapshots=True)
    assert isinstance(together, TrainedEnsemble)
    assert [part.checkpoint for part in together.parts] == paths
    parts = [TrainedRun(opened) for _ in paths]
    for part, path in zip(parts, paths, strict=True):
        part.checkpoint = path
    batch = next(_batches(opened, parts[0].prepared, torch.device("cpu")))
    with torch.no_grad():
        alone = torch.stack([part.model(batch).softmax(-1) for part in parts])
        whole = together.model(batch)
        assert torch.allclose(whole.exp(), alone.mean(0), atol=1e-6)
        assert not torch.allclose(alone[0], alone[2], atol=1e-4)
        trained = answering([opened], "probabilities", dropout=40)
        own = TrainedRun(opened).model(batch).softmax(-1)
        first, second = trained.model(batch).exp(), trained.model(batch).exp()
    assert not torch.equal(first, second), "drawn anew"
    assert torch.allclose(first, own, atol=0.25) and not torch.allclose(first, own, atol=1e-4)
    weights = {p.data_ptr() for each in members(trained.model) for p in each.model.parameters()}
    assert len(weights) == len({p.data_ptr() for p in trained.model.parameters()}), "one in memory"
    capsys.readouterr()
    for option in (["--snapshots"], ["--dropout", "4"]):
        assert main(["evaluate", str(run), *option]) == 0
        assert " by itself" in capsys.readouterr().out
        assert main(["predict", str(run), "--output", "-", "--limit", "2", *option]) == 0
        capsys.readouterr()
    assert {each.name for each in (run / "evaluations").iterdir()} == {
        "probabilities-snapshots",
        "dropout=4-probabilities",
    }
    opened.best_checkpoint.unlink()
    with torch.no_grad():
        again = answering([opened], "probabilities", snapshots=True).model(batch)
    assert torch.equal(again, whole), "also where no best checkpoint is kept"


def test_what_is_of_one_run_is_refused_for_others(run, other, capsys):
    assert main(["evaluate", str(run), "--snapshots"]) == 2
    assert "--snapshots: " in capsys.readouterr().err
    assert main(["evaluate", str(run), str(other), "--dropout", "4"]) == 2
    assert "--dropout: is of one run; here are 2" in capsys.readouterr().err


def test_long_texts_are_evaluated_some_at_a_time_and_shown_by_their_last_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluated_split, "WEIGHTS_AT_ONCE", 2 * 25 * 25)
    monkeypatch.setattr(examples, "MOST_WEIGHTS", 100)
    monkeypatch.setattr(example_choice, "MOST_OF_ALL", 450)
    seen: list[int] = []
    update = evaluated_split.Evaluation.update

    def watched(self: evaluated_split.Evaluation, number: int, batch: Batch) -> None:
        seen.append(len(batch))
        update(self, number, batch)

    monkeypatch.setattr(evaluated_split.Evaluation, "update", watched)
    few = ("dataset.train=16", "dataset.val=2", "dataset.test=7", "dataset.length=25")
    small = ("model.dim=8", "model.feedforward_dim=8", "trainer.max_epochs=1")
    words = ("experiment=induction", "stages=[prepare,train,evaluate]", *few, *small)
    folder = ran(tmp_path, *words)
    assert seen == [2, 2, 2, 1]
    shown = load_examples(folder / "examples.json")
    assert 0 < len(shown) <= 4, "450 weights hold four maps of 100"
    for each in shown:
        assert len(each.map) == len(each.queries) == len(each.gold_map) == 4  # 100 // 25
        assert each.rows_shown == "the last 4 of 25"
        assert each.teacher_forced


def test_maps_that_fit_no_memory_are_left_out_where_there_is_no_gold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").write_text("to be or not to be\n" * 40)
    monkeypatch.setattr(evaluated_split, "LARGEST_MAP", 10 * 10)
    monkeypatch.setattr(examples, "MOST_WEIGHTS", 10 * 10)
    words = ("~experiment", "dataset=text", f"dataset.folder={tmp_path}", "dataset.context=16")
    small = ("task=language_model", "model=transformer", "model.dim=8", "trainer.max_epochs=1")
    folder = ran(tmp_path, *words, *small, "objective=unsupervised", "logger.maps_every=1")
    figures = json.loads((folder / "metrics.json").read_text())
    assert figures["answer"]["perplexity"] > 1
    assert figures["attention"] == figures["trust"] == {}
    assert load_examples(folder / "examples.json") == []
    said = "maps of 16 x 16 weights are left out: no figures of them, none in the report"
    assert capsys.readouterr().err.count(said) == 1
    assert (folder / "report.html").is_file()
    assert not (folder / "history" / "maps").exists(), "a map over training is shown whole"
