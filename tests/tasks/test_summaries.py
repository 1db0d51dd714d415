"""Summaries: one sentence is chosen, or words are written; ROUGE takes the nearest reference."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from attnlab.attention.taps import Tap
from attnlab.config.compose import load
from attnlab.data.batch import Batch
from attnlab.data.codec import Codec
from attnlab.data.example import Example
from attnlab.datasets.readers.config import Files
from attnlab.errors import UserError
from attnlab.tasks.task import Task
from tests.datasets.readers.files import dataset, prepared, read, whole
from tests.models.building import built, small_config
from tests.runs import figures, ran, shown

ABSTRACTS = [
    ([["the", "cat", "sat"], ["it", "was", "a", "mat"]], 1, ["It was the mat.", "a mat"]),
    ([["dogs", "run", "far"], ["they", "do"], ["so"]], 0, ["dogs sleep", "Dogs run very far"]),
]


def abstracts() -> list[Example]:
    return [
        Example(str(i), {"text": text}, place, references=said)  # type: ignore[arg-type,dict-item]
        for i, (text, place, said) in enumerate(ABSTRACTS)
    ]


def extraction() -> tuple[torch.nn.Module, Batch, Codec, Task]:
    config = small_config("task=extract")
    model, batch, codec = built(config, abstracts())
    return model, batch, codec, config.task.build(codec)


def test_the_answer_is_the_sentence_that_the_map_lies_on() -> None:
    model, batch, _, task = extraction()
    with Tap(model, "pooling") as tap:
        scores = model(batch)
    answers = model.answer(batch)
    assert scores.shape == (2, 1, 3)
    assert answers.tolist() == tap.weights()[:, 0].argmax(-1).tolist()
    expected = -scores.log_softmax(-1)[[0, 1], 0, [1, 0]]
    sums, places = task.losses(scores, batch)
    torch.testing.assert_close(sums, expected)
    assert places.tolist() == [1, 1]
    torch.testing.assert_close(scores.exp().sum(-1), torch.ones(2, 1))


def test_what_is_said_is_compared_with_all_references() -> None:
    _, batch, _, task = extraction()
    known = task.controls(batch, torch.empty(0), [])
    lead, oracle = (figures_of(task, batch, known[name][1]) for name in ("lead", "oracle"))
    # "it was a mat" and "It was the mat": three of four words, and two of three pairs, either way;
    # "a mat" has all of its two words in four: F = 2 (1/2) 1 / (3/2) = 2/3.
    # "dogs run far" and "Dogs run very far": precision 1, recall 3/4; pairs 1/2 of 2 and 1/3 of 3.
    assert oracle["rouge1"] == pytest.approx((3 / 4 + 6 / 7) / 2)
    assert oracle["rouge2"] == pytest.approx((1 / 2 + 2 / 5) / 2)
    assert oracle["rougeL"] == pytest.approx((3 / 4 + 6 / 7) / 2)
    assert oracle["exact_match"] == 1
    assert lead["exact_match"] == 0.5
    assert lead["rouge1"] == pytest.approx((2 / 7 + 6 / 7) / 2)


def figures_of(task: Task, batch: Batch, answers: torch.Tensor) -> dict[str, float]:
    metrics = task.metrics()
    task.update_metrics(metrics, batch, torch.zeros(0), answers)
    return {name: value for metric in metrics for name, value in metric.compute().items()}


def test_without_references_what_is_said_is_compared_with_the_right_sentence() -> None:
    config = small_config("task=extract")
    examples = [replace(example, references=[]) for example in abstracts()]
    _, batch, codec = built(config, examples)
    oracle = figures_of(config.task.build(codec), batch, batch.answer.values)
    assert oracle == pytest.approx(dict.fromkeys(oracle, 1.0))


def test_generated_summaries_are_evaluated_by_the_configured_figures(tmp_path: Path) -> None:
    made = prepared(files(tmp_path, "dataset/answer=texts", "dataset.answer.column=said"), tmp_path)
    config, _ = load(["~experiment", "task=generate", "task.figures=[rouge,exact_match]"])
    task = config.task.build(made.codec)
    assert [type(metric).__name__ for metric in task.metrics()] == ["Rouge", "ExactMatch"]
    first = made.examples("train")[0]
    assert first.answer == ["It", "was", "the", "mat", "."], "the first is learned"
    assert first.references == ["It was the mat.", "a mat"], "all of them count"
    assert first.inputs["text"] == ["the", "cat", "sat", "it", "was", "a", "mat"]


def files(folder: Path, *overrides: str) -> Files:
    rows = [
        {
            "source": [" ".join(s) for s in text],
            "marks": [int(i == place) for i in range(len(text))],
        }
        | {"said": said}
        for text, place, said in ABSTRACTS
    ]
    (folder / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows * 12))
    given = ["dataset/reader=jsonl", "dataset.inputs.text=source", "dataset.words.lists=texts"]
    return dataset(folder, whole("rows.jsonl"), *given, "dataset.references=said", *overrides)


@pytest.mark.parametrize(
    ("marks", "problem"),
    [
        ([0, 1], "2 marks for 3 sentences"),
        ([1, 0, 1], "'marks' does not mark one with 1 and all others with 0"),
        ([0, 0, 0], "'marks' does not mark one with 1 and all others with 0"),
    ],
)
def test_one_sentence_is_marked(marks: list[int], problem: str, tmp_path: Path) -> None:
    row = {"text": ["a b", "c", "d"], "marks": marks}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    given = ["dataset/reader=jsonl", "dataset/answer=mark", "dataset.sentences=[text]"]
    with pytest.raises(UserError) as raised:
        read(dataset(tmp_path, whole("rows.jsonl"), *given))
    assert f"(rows.jsonl row 1: {problem})" in str(raised.value)


def test_extraction_runs_from_rows_to_report_beside_its_controls(tmp_path: Path) -> None:
    files(tmp_path)
    run = ran(
        tmp_path,
        "experiment=scitldr_extractive",
        f"dataset.folder={tmp_path}",
        whole("rows.jsonl"),
        "dataset.answer.column=marks",
        "dataset.gold.column=marks",
        "dataset.references=said",
        "model.dim=16",
        "trainer.max_epochs=1",
    )
    found, example = figures(run), shown(run)
    assert set(found["answer"]) == {"loss", "rouge1", "rouge2", "rougeL", "exact_match"}
    assert found["answer_controls"]["oracle"]["exact_match"] == 1
    assert found["answer_controls"]["lead"]["exact_match"] == 0.5
    assert found["controls"]["oracle"]["mass_on_gold"] == pytest.approx(1)
    assert example["keys"] == ["the cat sat", "it was a mat"]
    assert example["prediction"] in example["keys"]
    assert example["gold"] == "it was a mat"
    assert example["queries"] == [""]
