"""`attnlab align`, from text files to links and figures."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import get_args

import pytest
import torch

from attnlab.alignment.config import Symmetrisation
from attnlab.cli import main
from attnlab.config.compose import load
from attnlab.datasets.readers.files import lines
from attnlab.datasets.targets import Links, parse_pharaoh, pharaoh
from tests.alignment.pairs import error_rate, translated
from tests.datasets.readers.files import prepared, shared, write
from tests.models.pretrained import bert


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Text to learn from, packed on one side, and pairs with gold."""
    sources, targets, links = translated(400)
    write(tmp_path / "en.txt.gz", *map(" ".join, sources[:300]))
    write(tmp_path / "fr.txt", *map(" ".join, targets[:300]))
    write(tmp_path / "test.en", *map(" ".join, sources[300:]))
    write(tmp_path / "test.fr", *map(" ".join, targets[300:]))
    write(tmp_path / "test.align", *map(pharaoh, links[300:]))
    return tmp_path


def align(folder: Path, *words: str) -> int:
    """Names of files in the folder stand for themselves."""
    named = [str(folder / w) if (folder / w).exists() else w for w in words]
    return main(["align", *named, "--out", str(folder / "out")])


def read(path: Path) -> list[Links]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [parse_pharaoh(line, 0).sure for line in lines]


def figures(folder: Path) -> dict[str, dict[str, dict[str, float]]]:
    return json.loads((folder / "out" / "figures.json").read_text())["figures"]


TEST = ("--test", "test.en", "test.fr", "--gold", "test.align")


def test_from_texts_to_figures(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert align(files, "en.txt.gz", "fr.txt", *TEST) == 0
    shown = capsys.readouterr()
    right, found = read(files / "test.align"), read(files / "out" / "test.auto.align")
    assert error_rate(found, right) < 0.02
    made = figures(files)
    chosen = min(made[how]["aer"]["mean"] for how in get_args(Symmetrisation))
    assert chosen == pytest.approx(error_rate(found, right))
    assert made["diagonal"]["aer"]["mean"] > 0.5 < made["uniform"]["aer"]["mean"]
    assert len(read(files / "out" / "text.forward.align")) == 300
    *_, model, last = shown.out.split()
    assert (model, last) == tuple(str(files / "out" / n) for n in ("aligner.npz", "figures.json"))
    assert "learning from 400 pairs" in shown.err
    assert "HMM round 5 of 5: perplexity" in shown.err
    with gzip.open(files / "en.txt.gz") as packed:
        assert packed.read().count(b"\n") == 300


def test_a_model_aligns_without_learning(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert align(files, "en.txt.gz", "fr.txt", *TEST) == 0
    first = (files / "out" / "test.auto.align").read_text()
    capsys.readouterr()
    out, model = files / "again", str(files / "out")
    words = [str(files / "test.en"), str(files / "test.fr"), "--model", model, "--out", str(out)]
    assert main(["align", *words]) == 0
    assert (out / "text.auto.align").read_text() == first
    assert "round" not in capsys.readouterr().err
    assert main(["align", *words, "--symmetrise", "union", "threshold=0.4"]) == 0
    wider = read(out / "text.union.align")
    assert all(
        links >= other
        for links, other in zip(wider, read(files / "out" / "test.auto.align"), strict=True)
    )


def test_gold_of_the_text_itself_counting_from_one(files: Path) -> None:
    links = read(files / "test.align")
    write(files / "one.align", *(pharaoh((i + 1, j + 1) for i, j in each) for each in links))
    words = ("test.en", "test.fr", "--gold", "one.align", "--base", "1", "jump_words=20")
    assert align(files, *words) == 0
    assert figures(files)["agreement"]["aer"]["mean"] < 0.1


def test_wrong_lines_of_gold_are_counted(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the line numbers of the file; the other lines are evaluated."""
    rows = (files / "test.align").read_text().splitlines()
    write(files / "bad", *rows[:2], "0-0 1:1", *rows[3:9], "0-0 99-7", *rows[10:])
    assert align(files, "test.en", "test.fr", "--gold", "bad") == 0
    said = capsys.readouterr().err
    assert "/bad: 2 of 100 lines are not evaluated: line 3: '1:1' is not a link such as" in said
    assert "line 10: link 99-7 is outside of its words, 0 to" in said and "--base" not in said
    assert figures(files)["mean"]["aer"]["mean"] < 0.1


@pytest.mark.parametrize("base", ["0", "1"])
def test_the_other_base_is_suggested(
    base: str, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Some lines would fit either way, and be wrong by one word."""
    links = read(files / "test.align")
    counted = [pharaoh((i + 1, j + 1) for i, j in each) for each in links]
    write(files / "other.align", *(counted if base == "0" else map(pharaoh, links)))
    align(files, "test.en", "test.fr", "--gold", "other.align", "--base", base)
    other = str(1 - int(base))
    assert f"seems to count from {other}: try --base {other}" in capsys.readouterr().err


def test_a_script_without_spaces(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each Chinese character is a word; the files with the words say what links count."""
    signs = {"le": "的"}
    rows = []
    for row in (files / "fr.txt").read_text().splitlines():
        words = [signs.setdefault(word, chr(0x4E00 + len(signs))) for word in row.split()]
        rows.append("".join(words) + " 。")
    write(files / "zh.txt", *rows)
    assert align(files, "en.txt.gz", "zh.txt") == 0
    assert "zh.txt: written without spaces? try: words.split=unspaced" in capsys.readouterr().err
    assert align(files, "en.txt.gz", "zh.txt", "words.split=unspaced") == 0
    assert "written without" not in capsys.readouterr().err
    assert (files / "out" / "text.target.txt").read_text().split("\n")[0] == " ".join(
        rows[0].replace(" ", "")
    )
    found = read(files / "out" / "text.auto.align")
    assert error_rate(found, translated(300)[2]) < 0.05


def test_an_encoder_aligns_what_is_written_alike(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is learned; words are linked whose states are alike, whatever their places."""
    torch.manual_seed(0)  # of the encoder: its positions add noise to what words are alike
    encoder = bert(tmp_path / "bert")
    write(files / "a", "the food was warm", "", "soup " * 50)
    write(files / "b", "warm was the food", "the", "soup")
    for links in ("iterated", "transport"):
        settings = ("encoder.layer=0", f"encoder.links={links}")
        assert align(files, "a", "b", "--encoder", str(encoder), *settings) == 0
        found = read(files / "out" / "text.auto.align")
        assert found[0] >= {(0, 2), (1, 3), (2, 1), (3, 0)} and not found[1] and not found[2]
    said = capsys.readouterr().err
    assert "line 2 (no words on a side); line 3 (too long for the encoder)" in said
    assert "round" not in said and not (files / "out" / "aligner.npz").exists()


def test_empty_and_long_lines_are_empty_alignments(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(files / "a", "n1 n2", "", "a1", "n1 n2 n3 n4")
    write(files / "b", "101n 102n", "le", "101a", "101n")
    write(files / "g", "0-0 1p1", "", "0-0", "0-0")
    assert align(files, "a", "b", "--gold", "g", "longest=3") == 0
    links = read(files / "out" / "text.auto.align")
    assert [len(each) for each in links] == [2, 0, 1, 0]
    said = "2 without links: line 2 (no words on a side); line 4 (more than 3 words)"
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("en.txt.gz", "test.fr"),
            "{0}/en.txt.gz has 300 lines, {0}/test.fr has 100; "
            "line i of one has to be the translation of line i of the other",
        ),
        (
            ("en.txt.gz", "fr.txt", "--gold", "test.align"),
            "--gold: {0}/test.align has 100 lines for 300 sentence pairs",
        ),
        (
            ("test.en", "test.fr", "--gold", "outside"),
            "--gold: {0}/outside: 100 of 100 lines are not evaluated: line 1: link 0-99 is outside",
        ),
        (
            ("test.en", "test.fr", "--encoder", "nowhere/at/all"),
            "--encoder: no tokenizer in 'nowhere/at/all', neither a folder nor on the hub",
        ),
        (("blank", "blank"), "{0}/blank, {0}/blank: no line has words in both"),
        (("test.en", "test.fr", "--model", "nowhere"), "--model: no aligner.npz in nowhere; "),
        (
            ("test.en", "test.fr", "hmm_rouns=3"),
            "hmm_rouns: unknown key; did you mean 'hmm_rounds'?",
        ),
        (
            ("test.en", "test.fr", "--symmetrise", "grow"),
            "symmetrise: 'grow' is not allowed; did you mean 'grow-diag'?",
        ),
    ],
)
def test_mistakes(
    words: tuple[str, ...], said: str, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(files / "outside", *["0-99"] * 100)
    write(files / "blank", "", "")
    assert align(files, *words) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith(f"attnlab: {said.format(files)}")
    assert "learning from" not in shown.err  # said before anything is learned
    assert not (files / "out").exists()


def test_a_missing_file(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["align", str(files / "en.txt"), str(files / "fr.txt")]) == 2
    said = f"attnlab: text: no file {files}/en.txt; did you mean 'en.txt.gz'? allowed: "
    assert capsys.readouterr().err.startswith(said)
    assert main(["align", str(files / "nowhere" / "en.txt"), str(files / "fr.txt")]) == 2
    assert capsys.readouterr().err == f"attnlab: text: no folder {files}/nowhere\n"


def test_help_says_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["align", "--help"])
    shown = capsys.readouterr().out
    assert "--gold FILE" in shown
    assert "attnlab align new.en new.fr --model FOLDER" in shown


def test_links_teach_a_translation_model(files: Path, tmp_path: Path) -> None:
    """The files of the shipped experiment: every training pair gets a map to learn from."""
    data = tmp_path / "hansards_align"
    data.mkdir()
    for name, language in (("en.txt.gz", "en"), ("fr.txt", "fr")):
        rows = list(lines(files / name))
        write(data / f"train.norm.{language}.gz", *rows)
    for split in ("dev", "test"):
        for end in ("norm.en", "norm.fr", "align"):
            source = files / f"test.{end.removeprefix('norm.')}"
            (data / f"{split}.{end}").write_text(source.read_text())
    train = [str(data / f"train.norm.{language}.gz") for language in ("en", "fr")]
    assert main(["align", *train, "--out", str(data / "aligned")]) == 0
    config, _ = load(["experiment=hansards_guided", f"paths.data={tmp_path}"])
    made = prepared(config.dataset, tmp_path)  # type: ignore[arg-type]
    targets = [example.target for example in made.examples("train")]
    assert len(targets) == 300
    assert all(target is not None and target.weights.sum() > 0 for target in targets)


@pytest.mark.slow
def test_parliament_debates(tmp_path: Path) -> None:
    """Hansards (Mihalcea and Pedersen 2003), 120,000 pairs, as `benchmarks/alignment.py` has it."""
    data = shared("hansards_align") / "hansards_align"
    pairs = [str(data / f"train.norm.{language}.gz") for language in ("en", "fr")]
    test = [str(data / f"test.norm.{language}") for language in ("en", "fr")]
    gold = ["--gold", str(data / "test.align"), "--out", str(tmp_path / "out")]
    assert main(["align", *pairs, "--test", *test, *gold]) == 0
    made = figures(tmp_path)
    assert made["mean"]["aer"]["mean"] < 0.0486 < made["agreement"]["aer"]["mean"] + 0.001
    assert made["intersection"]["aer"]["mean"] < 0.074
    assert made["diagonal"]["aer"]["mean"] == pytest.approx(0.53, abs=0.02)
