"""Damaged and hostile inputs: no code of theirs runs, nothing hangs, nothing changes in silence.

Each trial is a command in a fork of this process. What Hypothesis draws is the same in each run; a
few of each kind that is quick are tried in the default suite.
"""

from __future__ import annotations

import io
import json
import math
import pickle
import re
import shutil
import tempfile
import wave
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from attnlab.config.compose import load
from attnlab.data.integrity import digest, hashes
from attnlab.stages.run import flat
from attnlab.training.checkpoint import AtomicCheckpointIO, read_checkpoint
from tests.faults.trials import SHARE, Outcome, command, count
from tests.runs import train_small

TABLE = "hostile and damaged inputs"
CANARY = "ran.txt"  # what code of an input would write
CODE = f"open({CANARY!r}, 'w').write('x')"
TINY = ["dataset.train=32", "dataset.val=8", "dataset.test=8", "model.dim=8", "trainer.threads=1"]
HELD = ("refused", "failed", "reported", "unchanged", "accepted")
Column = Callable[
    [Outcome], str
]  # reported, unchanged, accepted or silent, of a command that was done


def trials(number: int, *strategies: Any) -> Callable[[Any], Any]:
    """So many drawn inputs, or the share of them that is tried."""
    wanted = max(2, round(number * SHARE))
    options = settings(
        max_examples=wanted,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=[*HealthCheck],
    )
    return lambda test: options(given(*strategies)(test))


def tried(kind: str, words: list[str], folder: Path, column_of: Column) -> Outcome:
    """Give a command in a folder, and count how it ended; a way that is not allowed is kept."""
    outcome = command(words, folder)
    column = outcome.kind
    if column == "done":
        column = column_of(outcome)
    if column == "failed" and words[0] == "doctor":
        column = "reported" if "\nwrong " in outcome.printed else "no message"
    elif column in ("refused", "failed") and not outcome.message:
        column = "no message"
    if (folder / CANARY).exists():
        column = "code ran"
    count(TABLE, kind, column)
    if column not in HELD:
        shown = f"{outcome.printed[:500]} ... {outcome.printed[-1500:]}"
        wrong.append(f"{column}: {' '.join(words)} (exit {outcome.code}) in {folder}\n{shown}")
    return outcome


wrong: list[str] = []  # trials of the test at hand that did not end as they may


@pytest.fixture(autouse=True)
def _all_held() -> Iterator[None]:
    wrong.clear()
    yield
    assert not wrong, "\n\n".join([f"{len(wrong)} trials:", *wrong])


def accepted(outcome: Outcome) -> str:
    return "accepted"


@pytest.fixture
def place(tmp_path: Path) -> Callable[[], Path]:
    """A new folder for each trial."""
    return lambda: Path(tempfile.mkdtemp(dir=tmp_path))


# Damages of bytes


at = st.floats(0, 1, exclude_max=True)  # where in a file
damages = st.one_of(
    st.tuples(st.just("flip"), at, st.integers(0, 7)),
    st.tuples(st.just("cut"), at, st.none()),
    st.tuples(st.just("write"), at, st.binary(min_size=1, max_size=32)),
    st.tuples(st.just("insert"), at, st.binary(min_size=1, max_size=32)),
    st.tuples(st.just("instead"), at, st.binary(max_size=200)),
)


def damaged(content: bytes, damage: tuple[str, float, Any]) -> bytes:
    """Never the same as before."""
    how, where, what = damage
    place = int(where * len(content))
    if how == "flip":
        what = bytes([content[place] ^ (1 << what)])
    if how in ("flip", "write"):
        changed = content[:place] + what + content[place + len(what) :]
    else:
        changed = {
            "cut": content[:place],
            "insert": content[:place] + (what or b"") + content[place:],
            "instead": what or b"",
        }[how]
    return changed if changed != content else content + b"\x80"


class Payload:
    """Pickled, it runs code where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (CODE,)


# A run that somebody sends: its checkpoints, data, results and config


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run, its data, and what predict and report make of it."""
    folder = tmp_path_factory.mktemp("hostile")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        train_small(Path(), "paths.run=run", "paths.prepared=prepared", *TINY)
    done = command(["predict", "run", "--output", "out.jsonl"], folder, 60)
    assert done.code == 0, done.printed
    return folder


@pytest.fixture
def sent(original: Path, place: Callable[[], Path]) -> Callable[[], Path]:
    """A copy of that folder for each trial, and in it a module that is not to be imported."""

    def copied() -> Path:
        folder = shutil.copytree(original, place(), dirs_exist_ok=True)
        (folder / "out.jsonl").unlink()
        (folder / "planted.py").write_text(CODE)
        return folder

    return copied


def test_code_that_runs_would_be_seen(sent: Callable[[], Path]) -> None:
    """A plugin that the user says may be imported; without that word it is not."""
    folder = sent()
    path = folder / "run/config.yaml"
    path.write_text(path.read_text().replace("plugins: []", "plugins: [planted]"))
    assert command(["report", "run"], folder).kind == "refused"
    assert not (folder / CANARY).exists()
    assert command(["report", "run", "--trust"], folder).kind == "done"
    assert (folder / CANARY).exists()


def same_answers(original: Path, folder: Path) -> Column:
    def column_of(outcome: Outcome) -> str:
        same = (folder / "out.jsonl").read_bytes() == (original / "out.jsonl").read_bytes()
        return "unchanged" if same else "reported" if "differ" in outcome.printed else "silent"

    return column_of


def pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps({"state_dict": Payload(), "attnlab": {}}))


def pickled_within(path: Path) -> None:
    """In an archive such as torch writes."""
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in records.items():
            payload = pickle.dumps(Payload()) if name.endswith("data.pkl") else content
            archive.writestr(name, payload)


def with_object(path: Path) -> None:
    content = torch.load(path, weights_only=True)
    torch.save(content | {"callbacks": Payload()}, path)


def rewritten(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    """With other content, whose checksum is right."""

    def write(path: Path) -> None:
        content = read_checkpoint(path)
        change(content)
        AtomicCheckpointIO().save_checkpoint(content, path)

    return write


def first_weight(change: Callable[[torch.Tensor], Any]) -> Callable[[dict[str, Any]], None]:
    def go(content: dict[str, Any]) -> None:
        name = next(iter(content["state_dict"]))
        content["state_dict"][name] = change(content["state_dict"][name])

    return go


FORGED = [
    pickled,
    pickled_within,
    with_object,
    rewritten(first_weight(lambda weight: weight[:1].clone())),
    rewritten(first_weight(lambda weight: torch.full_like(weight, math.nan))),
    rewritten(first_weight(lambda weight: weight.unsqueeze(0))),
    rewritten(first_weight(lambda weight: [1, 2])),
    rewritten(lambda content: content.pop("state_dict")),
    rewritten(lambda content: content["state_dict"].clear()),
    rewritten(lambda content: content.update(attnlab={"config": [], "data_digest": 3})),
    rewritten(lambda content: content.update(state_dict={"planted": torch.ones(1)})),
]


@pytest.mark.timeout(10_800)
@trials(60, st.one_of(damages, st.sampled_from(FORGED)), st.sampled_from(["predict", "resume"]))
def test_checkpoints(original: Path, sent: Callable[[], Path], damage: Any, use: str) -> None:
    folder = sent()
    path = folder / "run/checkpoints" / ("best.ckpt" if use == "predict" else "last.ckpt")
    if callable(damage):
        with suppress(AttributeError):  # a weight that is no tensor has no checksum
            damage(path)
    else:
        path.write_bytes(damaged(path.read_bytes(), damage))
    if use == "predict":
        words = ["predict", "run", "--output", "out.jsonl"]
        tried("checkpoints", words, folder, same_answers(original, folder))
        return

    def column_of(outcome: Outcome) -> str:
        ours, theirs = (
            read_checkpoint(place / "run/checkpoints/last.ckpt")["state_dict"]
            for place in (folder, original)
        )
        same = all(torch.equal(ours[name], theirs[name]) for name in theirs)
        return "unchanged" if same else "silent"

    places = ["paths.run=run", "paths.prepared=prepared", "paths.runs=runs", "stages=[train]"]
    tried("checkpoints", ["train", *SMALL, *TINY, *places, "resume=auto"], folder, column_of)


SMALL = ["trainer.batches.size=16", "trainer.max_epochs=1", "trainer.progress=false"]
SMALL += ["logger=files", "model.dim=16"]


@pytest.mark.timeout(10_800)
@trials(50, damages, st.integers(0, 4), st.booleans())
def test_prepared_data(
    original: Path, sent: Callable[[], Path], damage: Any, which: int, forged: bool
) -> None:
    """Also where somebody wrote hashes that are right for what is there."""
    folder = sent()
    (data,) = (folder / "prepared").glob("dates-*/")
    path = sorted(path for path in data.iterdir() if path.is_file())[which % 5]
    path.write_bytes(damaged(path.read_bytes(), damage))
    if forged and path.name != "meta.json":
        files, meta = hashes(data), json.loads((data / "meta.json").read_text())
        meta |= {"files": files, "digest": digest(files)}
        (data / "meta.json").write_text(json.dumps(meta))
    words = ["predict", "run", "--output", "out.jsonl"]
    tried("prepared data", words, folder, same_answers(original, folder))


@pytest.mark.slow
@pytest.mark.timeout(10_800)
@trials(15, damages)
def test_input_of_predict(sent: Callable[[], Path], damage: Any) -> None:
    """Each line of the input has one of the output, with an answer or with what is wrong."""
    folder = sent()
    rows = b"".join(b'{"text": "%d May 2004"}\n' % day for day in range(1, 9))
    (folder / "in.jsonl").write_bytes(damaged(rows, damage))

    def column_of(outcome: Outcome) -> str:
        lines = (folder / "out.jsonl").read_text().splitlines()
        problems = sum("problem" in json.loads(line) for line in lines)
        given = len([x for x in (folder / "in.jsonl").read_bytes().split(b"\n") if x.strip()])
        return "silent" if len(lines) != given else "reported" if problems else "accepted"

    words = ["predict", "run", "--input", "in.jsonl", "--output", "out.jsonl"]
    tried("input of predict", words, folder, column_of)


RESULTS = ["metrics.json", "examples.json", "heads.json", "per_example.csv", "resamples.csv"]
HISTORY = ["history/train.csv", "history/val.csv", "history/maps"]


@pytest.mark.timeout(10_800)
@trials(60, damages, st.sampled_from([*RESULTS, *HISTORY]))
def test_results(sent: Callable[[], Path], damage: Any, name: str) -> None:
    folder = sent()
    path = folder / "run" / name
    path = next(path.iterdir()) if path.is_dir() else path
    path.write_bytes(damaged(path.read_bytes(), damage))
    before = (folder / "run/report.html").read_bytes()

    def column_of(outcome: Outcome) -> str:
        same = (folder / "run/report.html").read_bytes() == before
        return "reported" if path.name in outcome.printed else "unchanged" if same else "silent"

    tried("history and results", ["report", "run"], folder, column_of)


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n"
    for a, b in zip("abcdefghi", "bcdefghij", strict=True)
)
CONFIGS = [
    BOMB,
    f"!!python/object/apply:builtins.exec [{CODE!r}]",
    f"name: !!python/object/apply:builtins.exec [{CODE!r}]",
    "name: !!python/name:os.system",
    "seed: ${oc.env:HOME}",
    "- a",
    "a",
    "",
    "\0",
    "? [a]\n: 1",
    "a: &a {b: *a}",
    "x: " * 300 + "1",
    "{" * 5000,
    "[" * 100_000,
    "seed: 0\nseed: 1",
]
HOSTILE: list[Any] = [
    *(math.nan, math.inf, -math.inf, -1, 0, 1.5, 2**70, "1" * 400, "x", "", "[/x]", "\x1b[31m"),
    *(None, True, [], {}, [1], {"a": 1}, "../../planted", "/dev/null", "planted", ["planted"]),
    *(["planted:x"], "a\nb", {"kind": "planted"}, [["x"] * 5], "${oc.env:HOME}", "é\u202e"),
]


def changed(plain: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    copy = json.loads(json.dumps(plain))
    inner, *_ = copy, None
    *groups, last = key.split(".")
    for group in groups:
        inner = inner[group]
    inner[last] = value
    return copy


@pytest.fixture(scope="module")
def keys(original: Path) -> list[str]:
    """Every key of the run's config, groups included."""

    def below(plain: dict[str, Any], prefix: str = "") -> Iterator[str]:
        for key, value in plain.items():
            yield prefix + key
            if isinstance(value, dict):
                yield from below(value, f"{prefix}{key}.")

    return [*below(yaml.safe_load((original / "run/config.yaml").read_text()))]


configs = st.one_of(
    st.sampled_from(CONFIGS),
    st.tuples(at, st.sampled_from(HOSTILE)),
    st.tuples(st.just("plugins"), st.just(["planted"])),
    damages,
)
USES = [
    ["predict", "run", "--output", "out.jsonl"],
    ["report", "run"],
    ["doctor", "run"],
    ["runs", "--below", "."],
]


@pytest.mark.timeout(10_800)
@trials(60, configs, st.sampled_from(USES))
def test_config_of_a_run(
    sent: Callable[[], Path], keys: list[str], config: Any, use: list[str]
) -> None:
    folder = sent()
    path = folder / "run/config.yaml"
    if isinstance(config, str):
        path.write_text(config)
    elif len(config) == 3:
        path.write_bytes(damaged(path.read_bytes(), config))
    else:
        where, value = config
        key = where if isinstance(where, str) else keys[int(where * len(keys))]
        plain = changed(yaml.safe_load(path.read_text()), key, value)
        path.write_text(yaml.safe_dump(plain, allow_unicode=True))
    tried("config of a run", use, folder, accepted)


@pytest.mark.slow
@pytest.mark.timeout(10_800)
@trials(15, damages, st.sampled_from(USES))
def test_status_of_a_run(sent: Callable[[], Path], damage: Any, use: list[str]) -> None:
    folder = sent()
    path = folder / "run/status.json"
    path.write_bytes(damaged(path.read_bytes(), damage))
    tried("status of a run", use, folder, accepted)


@pytest.mark.slow
@pytest.mark.timeout(10_800)
@trials(15, st.one_of(st.sampled_from(CONFIGS), damages))
def test_file_of_params(place: Callable[[], Path], config: Any) -> None:
    folder = place()
    assert command(["params"], folder).code == 0
    path = folder / "params.yaml"
    content = config.encode() if isinstance(config, str) else damaged(path.read_bytes(), config)
    path.write_bytes(content)
    tried("params.yaml", ["prepare", "--params", "params.yaml"], folder, accepted)


# Values that a user gives


@pytest.fixture(scope="module")
def numbers() -> list[str]:
    """Keys of the config that hold a number; those of how long a training takes are left out."""
    _, plain = load(TINY)
    endless = ("trainer.max_", "dataset.", "logger.", "explain.")
    values = {key: value for key, value in flat(plain).items() if not key.startswith(endless)}
    return [key for key, value in values.items() if type(value) in (int, float)]


WORDS = ["nan", "inf", "-inf", "-1", "0", "1.5", "1e400", "1e30", "1e-300", "x", "''", "[]", "{}"]
WORDS += [
    "null",
    "true",
    "[1]",
    "{a: 1}",
    "'[/x]'",
    "0x10",
    "1_000",
    "-0.0",
    "99999999999999999999",
]


@pytest.mark.slow
@pytest.mark.timeout(10_800)
@trials(60, at, st.sampled_from(WORDS))
def test_values(place: Callable[[], Path], numbers: list[str], where: float, value: str) -> None:
    folder, key = place(), numbers[int(where * len(numbers))]

    def column_of(outcome: Outcome) -> str:
        weights = read_checkpoint(folder / "run/checkpoints/last.ckpt")["state_dict"].values()
        finite = all(bool(torch.isfinite(each).all()) for each in weights)
        return "accepted" if finite else "silent"

    places = ["paths.run=run", "paths.prepared=prepared", "paths.runs=runs", "stages=[train]"]
    words = ["train", *SMALL, *TINY, *places, f"{key}={value}"]
    tried("values of a config", words, folder, column_of)


# Rows of data


TEXTS = [f"row {number} has words" for number in range(8)]
LABELS = ["a", "b"] * 4
GOOD = "".join(f"{text},{label}\n" for text, label in zip(TEXTS, LABELS, strict=True))


def preparing(kind: str, reader: str, name: str, folder: Path, *more: str) -> Outcome:
    """Prepare, and count what was lost without a word.

    Rows that were damaged may be read as something else: these sources have no checksum. No other
    row may be lost, unless it is counted among the bad ones.
    """
    (folder / "good.csv").write_text("text,label\n" + GOOD)
    splits = f"dataset.splits={{train: {name}, val: {name}, test: {name}}}"
    words = ["prepare", "dataset=files", f"dataset/reader={reader}", "dataset.folder=.", splits]
    words += ["~experiment", "task=classify", "objective=unsupervised", "paths.prepared=prepared"]
    words += ["dataset.bad_rows=0.99", *more]

    def column_of(outcome: Outcome) -> str:
        (path,) = folder.glob("prepared/*/train.jsonl")
        stored = path.read_text()
        lost = sum(text.split()[1] not in re.findall(r"\d+", stored) for text in TEXTS)
        bad = re.search(r"train: (\d+) of (\d+) rows", outcome.printed)
        reported = int(bad[1]) if bad else 0
        if lost > max(reported, 1):
            return "silent"
        return "reported" if reported else "accepted"

    return tried(kind, words, folder, column_of)


def as_csv(between: str) -> bytes:
    return f"text{between}label\n{GOOD.replace(',', between)}".encode()


def as_jsonl() -> bytes:
    rows = ({"text": t, "label": k} for t, k in zip(TEXTS, LABELS, strict=True))
    return "".join(f"{json.dumps(row)}\n" for row in rows).encode()


TABLES = {"csv": as_csv(","), "tsv": as_csv("\t"), "jsonl": as_jsonl()}
quotes = st.tuples(
    st.just("insert"), at, st.sampled_from([b'"', b'""', b"\0", b"\r", b"\n", b"\xff"])
)


@pytest.mark.slow
@pytest.mark.timeout(10_800)
@trials(70, st.sampled_from(list(TABLES)), st.one_of(damages, quotes))
def test_bytes_of_tables(place: Callable[[], Path], reader: str, damage: Any) -> None:
    folder, name = place(), f"a.{reader}"
    if damage[0] == "instead":
        content = damage[2] + TABLES[reader]
    elif damage[0] == "cut":  # what a file never had cannot be missed
        content = TABLES[reader][: -1 - int(damage[1] * 20)]
    else:
        content = damaged(TABLES[reader], damage)
    (folder / name).write_bytes(content)
    preparing(f"bytes of {reader.upper()}", reader, name, folder)


values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)


@pytest.mark.slow
@pytest.mark.timeout(10_800)
@trials(30, values, values)
def test_rows(place: Callable[[], Path], text: Any, label: Any) -> None:
    """A row of JSON that holds anything at all."""
    folder = place()
    row = json.dumps({"text": text, "label": label}).encode() + b"\n"
    (folder / "a.jsonl").write_bytes(as_jsonl() + row)
    preparing("rows of JSONL", "jsonl", "a.jsonl", folder)


GOLD = {"scores": [1, 2], "marks": [1, 0], "facts": [0], "spans": [[0, 1]], "quotes": "row"}


@pytest.mark.slow
@pytest.mark.timeout(10_800)
@trials(30, st.sampled_from(list(GOLD)), values)
def test_gold(place: Callable[[], Path], kind: str, value: Any) -> None:
    folder = place()
    good = GOLD[kind]
    if kind in ("scores", "marks"):
        good = [1, 0, 1, 0]
    rows = [{"text": t, "label": k, "gold": good} for t, k in zip(TEXTS, LABELS, strict=True)] + [
        {"text": "row 9 has words", "label": "a", "gold": value}
    ]
    (folder / "a.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    gold = [f"dataset/gold={kind}", "dataset.gold.column=gold"]
    preparing("cells of gold", "jsonl", "a.jsonl", folder, *gold)


@pytest.mark.slow
@pytest.mark.timeout(10_800)
@trials(20, damages)
def test_parquet(place: Callable[[], Path], damage: Any) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    folder = place()
    rows = [{"text": t, "label": k} for t, k in zip(TEXTS, LABELS, strict=True)]
    path = folder / "a.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path, write_page_checksum=True)
    path.write_bytes(damaged(path.read_bytes(), damage))
    preparing("Parquet", "parquet", "a.parquet", folder)


# Pictures and sounds


def png() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(file, "png")
    return file.getvalue()


def wav() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((1, 2, 8000, 0, "NONE", "not compressed"))
        out.writeframes(np.linspace(-9000, 9000, 800).astype("<i2").tobytes())
    return file.getvalue()


HEAD = 33  # bytes, before the content of either


@pytest.mark.slow
@pytest.mark.timeout(10_800)
@trials(50, st.sampled_from(["pictures", "sounds"]), damages, st.booleans())
def test_media(place: Callable[[], Path], kind: str, damage: Any, in_head: bool) -> None:
    folder = place()
    (folder / "x").mkdir()
    content, end = (png(), "png") if kind == "pictures" else (wav(), "wav")
    for number in range(3):
        (folder / f"x/{number}.{end}").write_bytes(content)
    if in_head:
        hostile = damaged(content[:HEAD], damage) + content[HEAD:]
    else:
        hostile = damaged(content, damage)
    (folder / f"x/3.{end}").write_bytes(hostile)
    where = f"x/*.{end}"
    splits = f"dataset.splits={{train: {where}, val: {where}, test: {where}}}"
    words = ["prepare", f"dataset={kind}", "dataset.folder=.", splits, "dataset.bad_rows=0.9"]
    words += ["~experiment", "task=classify", "objective=unsupervised", "paths.prepared=prepared"]

    def column_of(outcome: Outcome) -> str:
        reported = "train: 1 of 4 rows" in outcome.printed
        (meta,) = folder.glob("prepared/*/meta.json")
        sizes = json.loads(meta.read_text())["sizes"]
        return (
            "silent" if sizes["train"] + reported != 4 else "reported" if reported else "accepted"
        )

    tried(kind, words, folder, column_of)


CONTENTS = {**TABLES, "png": png(), "wav": wav()}


@pytest.mark.slow
@pytest.mark.timeout(10_800)
@trials(20, st.sampled_from(list(CONTENTS)), damages)
def test_files_to_inspect(place: Callable[[], Path], end: str, damage: Any) -> None:
    folder = place()
    for label in ("x", "y"):
        (folder / "of" / label).mkdir(parents=True)
        for number in range(6):
            (folder / "of" / label / f"{number}.{end}").write_bytes(CONTENTS[end])
    (folder / f"of/x/0.{end}").write_bytes(damaged(CONTENTS[end], damage))
    where = "of" if end in ("png", "wav") else f"of/x/0.{end}"
    tried("files to inspect", ["data", "inspect", where], folder, accepted)


# A folder of a pretrained model


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("transformers")
    from tests.models.pretrained import bert

    folder = tmp_path_factory.mktemp("pretrained")
    bert(folder / "bert", max_position_embeddings=256)
    whole = command(WITH_BERT, shutil.copytree(folder, folder / "whole"))
    assert whole.code == 0, whole.printed
    shutil.rmtree(folder / "whole")
    return folder


def with_code(folder: Path) -> None:
    """A config that names a class of the folder's own."""
    path = folder / "config.json"
    own = {"AutoModel": "modeling.Own", "AutoConfig": "modeling.Config"}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"auto_map": own}))
    (folder / "modeling.py").write_text(CODE)


def with_pickle(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({"embeddings": Payload()}, folder / "pytorch_model.bin")


FOLDERS = [with_code, with_pickle]
PLACES = ["paths.run=run", "paths.prepared=prepared", "stages=[train]"]
WITH_BERT = ["train", "experiment=reviews", "model=hf", "model.name=bert", *SMALL[:-1], *TINY[:3]]
WITH_BERT += PLACES
FILES = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]


@pytest.mark.slow
@pytest.mark.timeout(10_800)
@trials(20, st.one_of(st.sampled_from(FOLDERS), st.tuples(st.sampled_from(FILES), damages)))
def test_pretrained_model(pretrained: Path, place: Callable[[], Path], damage: Any) -> None:
    folder = shutil.copytree(pretrained, place(), dirs_exist_ok=True)
    if callable(damage):
        damage(folder / "bert")
    else:
        name, change = damage
        path = folder / "bert" / name
        path.write_bytes(damaged(path.read_bytes(), change))
    tried("pretrained model", WITH_BERT, folder, accepted)
