"""The datasets of `conf/dataset/`: where each comes from, and which files are missing."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import yaml

from attnlab.config import compose
from attnlab.config.dataset import Download, Origin
from attnlab.data.prepared import fingerprint
from attnlab.datasets.catalog import Entry, entries, entry, how_to_get, names
from attnlab.errors import UserError
from attnlab.stages.prepare import prepared_data
from tests.commands import REPOSITORY
from tests.datasets.readers.files import SHARED

ENTRIES = list(entries())
DOCS = REPOSITORY / "docs" / "data.md"
BEGIN, END = "<!-- datasets -->\n", "<!-- /datasets -->\n"
FILES = [each for each in ENTRIES if each.origin is not None and not each.from_hub]


def table() -> str:
    """As docs/data.md shows the datasets; `python -m tests.datasets.test_catalog` writes it."""
    lines = ["| dataset | answer | where | size | licence |", "|---|---|---|---|---|"]
    for each in ENTRIES:
        where = each.state(Path("nowhere"))
        if each.origin is not None:
            where = f"[{where}]({each.origin.page})"
        lines.append(f"| `{each.name}` | {each.form} | {where} | {each.size} | {each.licence} |")
    return "\n".join(lines) + "\n"


def test_the_docs_show_the_datasets_as_they_are() -> None:
    text = DOCS.read_text(encoding="utf-8")
    assert table() in text, "python -m tests.datasets.test_catalog"


def test_what_every_dataset_has_stands_in_one_file() -> None:
    folder = compose.config_dir() / "dataset"
    shared = yaml.safe_load((folder / "base.yaml").read_text(encoding="utf-8"))
    assert {"supervision", "annotations"} <= shared.keys()
    for path in folder.glob("*.yaml"):
        own = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert path.stem == "base" or not shared.items() & own.items(), path
    assert not {"base", "files"} & set(names()), "they are no datasets as they stand"


def test_what_needs_no_network_comes_first() -> None:
    states = [each.state(Path("nowhere")) for each in ENTRIES]
    order = ["embedded", "to download", "on the hub"]
    ranks = [order.index(state.replace("by hand", "to download")) for state in states]
    assert ranks == sorted(ranks)
    assert {each.name for each in ENTRIES if each.state(Path()) == "embedded"} >= {"dates", "tones"}


@pytest.mark.parametrize("each", ENTRIES, ids=lambda each: each.name)
def test_every_dataset_that_reads_states_where_from(each: Entry) -> None:
    reads = {"folder", "file", "reader"} & set(each.values) or "reader" in each.options
    assert (each.origin is not None) == bool(reads)
    if each.origin is not None:
        ways = [bool(each.origin.downloads), bool(each.origin.by_hand), each.from_hub]
        assert ways.count(True) == 1
    if each.from_hub:
        assert each.origin is not None
        assert each.origin.page.endswith(each.values["reader"]["id"])


@pytest.mark.parametrize("name", ["dates", "fsdd_connected", "atis_intent_hub", "ml_100k"])
def test_the_yaml_is_read_as_it_is_composed(name: str) -> None:
    each = entry(name)
    config, plain = compose.load([word for word in shlex.split(each.command) if "=" in word])
    answer = getattr(config.dataset, "answer", None)
    assert config.dataset.name == name
    assert each.form in {config.dataset.answer_form, getattr(answer, "kind", "")}
    assert "origin" not in plain["dataset"], "no part of a run"


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the real data")
@pytest.mark.parametrize("each", FILES, ids=lambda each: each.name)
def test_what_is_downloaded_is_what_the_reader_reads(each: Entry) -> None:
    assert each.missing(SHARED) == []
    assert each.missing(Path("nowhere"))


def test_an_origin_changes_neither_config_nor_prepared_data(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,label\na,b\n")
    words = ["dataset=files", f"dataset.folder={tmp_path}", "task=classify"]
    plain, marked = (
        compose.load([*words, *more])
        for more in ([], ["+dataset.origin={page: http://a.b, licence: none}"])
    )
    assert plain == marked
    assert fingerprint(plain[0].dataset) == fingerprint(marked[0].dataset)


def test_a_name_that_there_is_none_of() -> None:
    with pytest.raises(UserError, match=r"no dataset 'ss2'; did you mean 'sst2'\? allowed: "):
        entry("ss2")
    assert "files" not in names()


@pytest.mark.parametrize(
    ("path", "name", "line"),
    [
        (
            "data/multi30k_ende/tok/train.en.gz",
            "",
            "multi30k, or from the hub: python train.py exp",
        ),
        ("data/eraser_movies/docs.zip/docs/*", "sst2_degrees", "eraser_movies, or from the hub: "),
        ("data/sst2/trees_train.txt.gz", "", "sst2_degrees, or from the hub: python train.py"),
        ("data/sst2/trees_train.txt.gz", "sst2_phrases", "sst2_phrases, or from the hub: "),
        ("data/osie/fixations.json.gz", "osie", "osie"),
    ],
)
def test_what_is_missing_is_told_with_the_command_that_brings_it(
    path: str, name: str, line: str
) -> None:
    assert how_to_get(Path(path), Path("data"), name).startswith(f"try: attnlab data {line}")


def test_files_of_ones_own_have_no_command() -> None:
    assert how_to_get(Path("data/mine/train.csv"), Path("data")) == ""


def test_a_missing_folder_is_told_before_anything_is_prepared(tmp_path: Path) -> None:
    config, _ = compose.load(["experiment=mnist", f"paths.data={tmp_path}"])
    with pytest.raises(UserError) as caught:
        prepared_data(config)
    first, second = str(caught.value).splitlines()
    assert first.startswith(
        f"dataset.splits.train.image: no folder {tmp_path}/mnist; put the data there"
    )
    assert second == f"  try: attnlab data mnist paths.data={tmp_path}"


@pytest.mark.parametrize("to", ["../up", "/etc/passwd", "a/../b", ""])
def test_a_download_cannot_lead_out_of_the_folder(to: str) -> None:
    with pytest.raises(ValueError, match="should match pattern"):
        Download.model_validate({"url": "http://a.b/c", "sha256": None, "to": to})


def test_places_of_an_archive() -> None:
    to = {"*/a.txt": "x/a.txt.gz", "*/docs/*": "x/docs.zip/docs/", "*/b/*": "x/docs.zip/b/"}
    download = Download(url="http://a.b/c.zip", sha256=None, to=to)
    assert download.places == ["x/a.txt.gz", "x/docs.zip"]
    assert "places" not in Origin.model_fields


if __name__ == "__main__":
    before, _, rest = DOCS.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    DOCS.write_text(before + BEGIN + table() + END + after, encoding="utf-8")
