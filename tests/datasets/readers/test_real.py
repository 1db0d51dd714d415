"""The shipped experiments on real data: they compose anywhere, and read the data where they are."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from attnlab.cli import main
from attnlab.config.compose import config_dir
from attnlab.config.schema import Config
from attnlab.data.example import SPLITS
from attnlab.datasets.readers.config import Files
from attnlab.datasets.readers.texts import FileSource
from tests.datasets.readers.files import prepared, shared
from tests.forms import load_fitting

FOLDERS = {  # of each experiment, among those of the data sets
    **dict.fromkeys(("atis", "atis_intent"), "atis"),
    **dict.fromkeys(("babi_qa1", "babi_qa2", "babi_qa3"), "babi"),
    **dict.fromkeys(("eraser_movies", "eraser_movies_sentences"), "eraser_movies"),
    "hansards_align": "hansards_align",
    "hansards_guided": "hansards_align/aligned",  # which `attnlab align` writes
    **dict.fromkeys(("multi30k", "multi30k_recurrent"), "multi30k_ende"),
    **dict.fromkeys(("scitldr_extractive", "scitldr_abstractive"), "scitldr_a"),
    **{name: name for name in ("sst2", "wnut17", "zuco_reading")},
}
EXPERIMENTS = sorted(FOLDERS)


@cache
@cache
def composed(experiment: str, *overrides: str) -> Config:
    return load_fitting([f"experiment={experiment}", *overrides])[0]


def source(experiment: str, *overrides: str) -> FileSource:
    data = shared(FOLDERS[experiment])
    return composed(experiment, f"paths.data={data}", *overrides).dataset.build()


def test_these_are_all_there_are() -> None:
    files = sorted((config_dir() / "experiment").glob("*.yaml"))
    read = [file.stem for file in files if "paths.data=FOLDER" in file.read_text()]
    assert [name for name in read if isinstance(composed(name).dataset, Files)] == EXPERIMENTS


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_paths_alone_lead_to_other_files(experiment: str) -> None:
    dataset = composed(experiment, "paths.data=/elsewhere").dataset
    assert isinstance(dataset, Files)
    assert dataset.folder.startswith("/elsewhere/")
    assert isinstance(dataset.build(), FileSource)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_the_yaml_of_its_data_begins_with_a_command(experiment: str) -> None:
    name = composed(experiment).dataset.name
    text = (config_dir() / "dataset" / f"{name}.yaml").read_text(encoding="utf-8")
    found = re.match(r"# python train.py experiment=(\w+) paths.data=FOLDER", text)
    assert found
    assert composed(found[1]).dataset.name == name


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_the_first_rows_are_read_and_encoded(experiment: str, tmp_path: Path) -> None:
    data = shared(FOLDERS[experiment])
    few = ["dataset.limit=60"]
    few += ["dataset.vectors=null"] if experiment == "sst2" else []  # counted in all reviews
    config = composed(experiment, f"paths.data={data}", *few)
    made = prepared(config.dataset, tmp_path)  # type: ignore[arg-type]
    assert not made.meta["notes"].keys() & set(SPLITS), "no row was left out"
    for split in ("train", "val", "test"):
        examples = made.examples(split)
        items = [made.codec.encode(example, i) for i, example in enumerate(examples)]
        assert items
        with_gold = [item.target for item in items if item.target is not None]
        assert all(target.weights.shape[1] > 0 for target in with_gold)
        expected = config.dataset.gold is not None  # type: ignore[attr-defined]
        if experiment == "hansards_align" and split == "train":
            expected = False
        assert (len(with_gold) == len(items)) == expected


@pytest.mark.parametrize(
    ("experiment", "sizes"),
    [
        ("sst2", (159274, 872, 1821)),
        ("wnut17", (3394, 1009, 1287)),
        ("atis", (4478, 500, 893)),
        ("atis_intent", (4478, 500, 893)),
        ("eraser_movies", (1600, 200, 199)),
        ("scitldr_abstractive", (1992, 619, 618)),
    ],
)
def test_all_rows_are_read(experiment: str, sizes: tuple[int, ...]) -> None:
    made = source(experiment)
    counted = tuple(sum(1 for _ in made.examples(split)) for split in ("train", "val", "test"))
    assert counted == sizes
    assert made.notes() == {}


def test_an_abstract_with_an_empty_sentence_is_left_out_and_named() -> None:
    made = source("scitldr_extractive")
    examples = {split: list(made.examples(split)) for split in ("train", "val", "test")}
    assert [len(split) for split in examples.values()] == [1991, 619, 618]
    assert made.notes()["train"] == (
        "1 of 1992 rows cannot be used (train.jsonl.gz row 1538: 20 marks for 19 sentences)"
    )
    assert {len(e.references) for e in examples["train"]} == {1}
    assert max(len(e.references) for e in examples["test"]) == 4


def test_rationales_mark_what_their_readme_says() -> None:
    made = source("eraser_movies")
    for split, share in (("train", 0.08), ("test", 0.30)):
        targets = [e.target for e in made.examples(split) if e.target is not None]
        marked = sum(float(t.weights.sum()) for t in targets)
        assert marked / sum(t.weights.size for t in targets) == pytest.approx(share, abs=0.015)


def test_alignments_hold_sure_and_possible_links() -> None:
    targets = [e.target for e in source("hansards_align").examples("test")]
    assert len(targets) == 447
    assert all(t is not None and t.possible is not None for t in targets)
    assert all((t.possible >= t.weights).all() for t in targets)  # type: ignore[union-attr,operator]


def test_reading_times_fall_into_five_folds() -> None:
    made = [source("zuco_reading", f"dataset.fold={fold}") for fold in range(5)]
    tests = [[e.meta["row"] for e in each.examples("test")] for each in made]
    assert sum(map(len, tests)) == len({row for rows in tests for row in rows}) == 924
    for example in made[0].examples("test"):
        assert example.target is not None
        np.testing.assert_allclose(example.target.weights.sum(), 1, rtol=1e-4)


@pytest.mark.parametrize(("task", "uniform"), [("qa1", 0.228), ("qa2", 0.175), ("qa3", 0.094)])
def test_facts_of_stories_are_as_rare_as_counted_before(task: str, uniform: float) -> None:
    made = source(f"babi_{task}")
    examples = list(made.examples("test"))
    assert len(examples) == 1000
    assert sum(1 for split in ("train", "val") for _ in made.examples(split)) == 1000
    targets = [e.target for e in examples if e.target is not None]
    marked = [target.weights.any(axis=0).mean() for target in targets]
    assert np.mean(marked) == pytest.approx(uniform, abs=0.0015)
    assert {len(target.weights) for target in targets} == {int(task[-1])}


def test_data_that_are_not_there_end_the_run_with_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [f"paths.{name}={tmp_path / name}" for name in ("data", "prepared", "runs")]
    assert main(["train", "experiment=sst2", *paths]) == 2
    printed = capsys.readouterr()
    assert printed.out == "sst2_degrees-recurrent-additive: prepare, train, evaluate, report\n"
    assert printed.err == (
        f"attnlab: dataset.splits.train: no folder {tmp_path}/data/sst2; put the data there, "
        "or try: paths.data=FOLDER, or dataset.folder=FOLDER\n"
        f"  try: attnlab data sst2_degrees paths.data={tmp_path}/data, or from the hub: "
        "python train.py experiment=sst2 dataset=sst2_hub dataset.vectors=null "
        "task.merge_labels=null\n"
    )
