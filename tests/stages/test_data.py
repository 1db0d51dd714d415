"""`attnlab data`: what is listed, what is downloaded, and what is to be done by hand."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
import yaml

from attnlab.cli import main
from attnlab.datasets import catalog
from attnlab.datasets.catalog import Entry
from attnlab.datasets.download import RECORD
from attnlab.stages import data as stage
from attnlab.stages.run import open_run
from tests.datasets.test_download import TEXT, Server, server, zipped
from tests.datasets.test_inspection import choice, jsonl, pair, pictures, review, table, tagged
from tests.runs import figures, ran

assert server  # a fixture


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert main(["data", *words]) == code
    printed = capsys.readouterr()
    return printed.err if code else printed.out


def test_the_list_says_first_what_needs_no_network(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    lines = said(capsys, "list", f"paths.data={tmp_path}").splitlines()
    assert lines[0] == "embedded: made by the package, no network needed"
    rows = {cells[0]: cells[1:] for line in lines if (cells := line.split())}
    assert rows["dates"][:2] == ["units", "embedded"]
    assert rows["wnut17"] == ["tags", "to", "download", "0.8", "MB", "CC", "BY", "4.0"]
    assert rows["osie"][:3] == ["none", "by", "hand"]
    assert rows["sst2_hub"][:4] == ["label", "on", "the", "hub"]
    assert list(rows).index("tones") < list(rows).index("atis") < list(rows).index("ag_news_hub")


def test_embedded_data_and_those_of_the_hub_need_no_download(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert "no network needed\n  python train.py dataset=reviews" in said(capsys, "reviews")
    hub = said(capsys, "wnut17_hub")
    assert "huggingface.co/datasets/leondz/wnut_17" in hub
    assert "(licence: CC BY 4.0)" in hub
    assert "pip install 'attnlab[hub]'" in hub


def test_what_has_to_be_had_by_hand_is_said_in_one_block(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "osie").mkdir()
    (tmp_path / "osie" / "images_320x240.zip").touch()
    block = said(capsys, "osie", f"paths.data={tmp_path}", code=2)
    assert block.startswith("attnlab: osie: has to be had by hand (licence: MIT)\n  Download")
    assert f"missing:\n    {tmp_path}/osie/fixations.json.gz\n  layout:" in block
    (tmp_path / "osie" / "fixations.json.gz").touch()
    assert said(capsys, "osie", f"paths.data={tmp_path}").startswith("osie is there\n")


@pytest.fixture
def served(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """A dataset of the package, whose files are published on this machine."""
    server.files |= {"docs.zip": zipped({"x/a.txt": b"a"}), "train.tsv": TEXT}
    real = catalog.entry("wnut17")
    assert real.origin is not None
    downloads = [
        {"url": server.url("train.tsv"), "sha256": None, "to": "made/train.tsv.gz"},
        {"url": server.url("docs.zip"), "sha256": None, "to": {"*/a.txt": "made/docs/"}},
    ]
    origin = type(real.origin).model_validate(real.origin.model_dump() | {"downloads": downloads})
    made = Entry("made", "python train.py dataset=made", real.values, {"reader": "tsv"}, origin)
    monkeypatch.setattr(stage, "entry", lambda name: made)
    return server


def test_a_download_shows_its_licence_once_and_is_done_once(
    served: Server, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    here = f"paths.data={tmp_path}"
    lines = said(capsys, "made", here).splitlines()
    page = "https://github.com/leondz/emerging_entities_17"
    assert lines == [
        f"licence of made: CC BY 4.0 ({page})",
        f"{served.url('train.tsv')} -> {tmp_path}/made/train.tsv.gz",
        f"{served.url('docs.zip')} -> {tmp_path}/made/docs",
        "made is there",
        f"  python train.py dataset=made {here}",
    ]
    assert (tmp_path / "made" / "docs" / "a.txt").read_bytes() == b"a"
    assert said(capsys, "made", here).splitlines() == lines[-2:]
    assert len(served.asked) == 2
    (tmp_path / "made" / "train.tsv.gz").unlink()
    assert said(capsys, "made", here).splitlines() == lines[1:2] + lines[-2:]
    assert json.loads((tmp_path / "made" / RECORD).read_text())["licences"] == ["CC BY 4.0"]


def test_a_file_that_changed_since_its_download_is_named(
    served: Server, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    said(capsys, "made", f"paths.data={tmp_path}")
    (tmp_path / "made" / "train.tsv.gz").write_bytes(b"mine")
    assert main(["data", "made", f"paths.data={tmp_path}"]) == 0
    assert "changed since the download: made/train.tsv.gz" in capsys.readouterr().err


def test_a_download_that_fails_says_how_it_is_had_by_hand(
    served: Server, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    del served.files["docs.zip"]
    text = said(capsys, "made", f"paths.data={tmp_path}", code=1)
    assert text.startswith(f"attnlab: {served.url('docs.zip')}: 404 Not Found\n  by hand: https:")
    assert (tmp_path / "made" / "train.tsv.gz").is_file(), "what came first stays"


def test_words_that_cannot_be_followed(capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean 'sst2'?" in said(capsys, "ss2", code=2)
    assert "takes one name, or inspect and one file" in said(capsys, "sst2", "more", code=2)
    assert "takes one name, or inspect and one file" in said(capsys, "inspect", code=2)


def picture_folder(folder: Path) -> Path:
    return pictures(folder / "shades", lambda label, number: f"{label}/{number}")


PROPOSED = {
    "classify": lambda folder: jsonl(folder / "reviews.jsonl", review),
    "tag": lambda folder: jsonl(folder / "names.jsonl", tagged),
    "generate": lambda folder: table(folder / "pairs.csv", pair, "\t"),
    "rank": lambda folder: table(folder / "log.csv", choice, ","),
    "pictures": picture_folder,
}


@pytest.mark.parametrize("form", PROPOSED)
def test_what_is_proposed_runs_as_it_is_printed(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = PROPOSED[form](tmp_path)
    monkeypatch.chdir(tmp_path)
    printed = said(capsys, "inspect", path.name)
    as_words, from_file = (
        shlex.split(line)[2:] for line in printed.splitlines() if line.startswith("python train.py")
    )
    run = ran(tmp_path, *as_words, "model.dim=16", "trainer.max_epochs=1")
    assert len(figures(run)["answer"]) > 1
    assert "nan" not in capsys.readouterr().out

    (start,) = (n for n, line in enumerate(printed.splitlines()) if line.startswith("defaults:"))
    place = Path(printed.splitlines()[start - 1].removeprefix("# "))
    place.parent.mkdir(parents=True)
    place.write_text("\n".join(printed.splitlines()[start:]).split("\n# run it:")[0])
    assert from_file[:2] == ["--config-dir", str(place.parent.parent)]
    assert main(["prepare", "--cfg", "job", "--package", "dataset", *from_file]) == 0
    other = yaml.safe_load(capsys.readouterr().out)
    shown = open_run(run).plain["dataset"]
    assert other | {"folder": shown["folder"]} == shown


def test_the_proposal_names_a_folder_after_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "my stars.2"
    folder.mkdir()
    table(folder / "train.csv", pair, ",")
    assert "# my_conf/dataset/my_stars.yaml\n" in said(capsys, "inspect", str(folder))
    assert "dataset.name=my_stars" in said(capsys, "inspect", str(folder / "train.csv"))
