"""Pictures, sounds and logs of a user's own, from the first file to the report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.datasets.readers.files import write
from tests.datasets.readers.media import save_picture, spoken, wav, write_idx, zipped
from tests.runs import SHORT, figures, ran, shown


def pictures(folder: Path) -> list[str]:
    random = np.random.default_rng(0)
    for i in range(24):
        save_picture(folder / "abc"[i % 3] / f"{i}.png", random.integers(0, 256, (16, 20, 3)))
    where = "dataset.splits={train: '*/*.png', val: '*/1*.png', test: '*/1*.png'}"
    step = "+dataset.augment.mirror={kind: mirror, chance: 0.5}"
    return ["dataset=pictures", where, step, "dataset.size=[16,20]", "model=convolutional"]


def looked_at(folder: Path) -> list[str]:
    words = pictures(folder)
    points = np.random.default_rng(0).uniform(0, 16, (24, 2, 3, 2)).tolist()
    names = [f"{'abc'[i % 3]}/{i}.png" for i in range(24)]
    (folder / "looked.json").write_text(json.dumps(dict(zip(names, points, strict=True))))
    where = "dataset.splits={train: looked.json, val: looked.json, test: looked.json}"
    words += ["dataset/reader=mapping", "dataset/answer=none", "metrics=saliency", where]
    words += ["dataset/picture_gold@dataset.gold=fixations", "model/image=pyramid"]
    return [*words, "task=attend", "model.image.channels=[4,4,4,4]"]


def marked(folder: Path) -> list[str]:
    """Pictures as COCO has them, a rectangle in each."""
    random = np.random.default_rng(0)
    images = [{"id": i, "file_name": f"{i}.png"} for i in range(24)]
    annotations = []
    for image in images:
        left, top = (int(n) for n in random.integers(0, 8, 2))
        box, kind = [left, top, 8, 6], image["id"] % 2
        pixels = random.integers(0, 99, (16, 20, 3))
        pixels[top : top + 6, left : left + 8, kind] = 255
        save_picture(folder / "seen" / image["file_name"], pixels)
        about = {"id": image["id"], "image_id": image["id"], "category_id": 1 + kind, "bbox": box}
        annotations.append(about)
    names = [{"id": 1, "name": "red"}, {"id": 2, "name": "green"}]
    content = {"images": images, "annotations": annotations, "categories": names}
    (folder / "instances.json").write_text(json.dumps(content))
    where = "dataset.splits={train: instances.json, val: instances.json, test: instances.json}"
    words = ["dataset=pictures", "dataset/reader=coco", "dataset.files=seen", where]
    return [*words, "dataset.size=[16,20]", "model=convolutional"]


def boxes(folder: Path) -> list[str]:
    return [*marked(folder), "dataset/answer=boxes", "task=locate", "metrics=region"]


def masks(folder: Path) -> list[str]:
    return [*marked(folder), "dataset/answer=masks", "task=segment", "metrics=region"]


def pointed_at(folder: Path) -> list[str]:
    gold = "dataset/picture_gold@dataset.gold=boxes"
    return [*marked(folder), gold, "metrics=region", "objective=supervised"]


def cluttered(folder: Path) -> list[str]:
    random = np.random.default_rng(0)
    write_idx(folder / "a.idx", random.integers(0, 256, (24, 8, 8)))
    write_idx(folder / "b.idx", np.arange(24) % 3)
    files = "{image: a.idx, label: b.idx}"
    where = f"dataset.splits={{train: {files}, val: {files}, test: {files}}}"
    words = ["dataset=cluttered_mnist", "dataset.canvas=[16,16]", "model=convolutional", where]
    return [*words, "task.hops=3", "attention=reinforce", "metrics=region"]


def sounds(folder: Path) -> list[str]:
    random = np.random.default_rng(0)
    files = {f"{i % 3}_{i}.wav": wav(random.uniform(-1, 1, 400 + 20 * i), 8000) for i in range(24)}
    zipped(folder / "a.zip", files)
    where = "dataset.splits={train: 'a.zip/*.wav', val: 'a.zip/1_*.wav', test: 'a.zip/1_*.wav'}"
    words = ["dataset=sounds", where, "dataset.reader.pattern='{label}_{take}.wav'"]
    steps = "+dataset.augment.noise={kind: mix, chance: 1, least_snr: 0, most_snr: 9}"
    words += [steps, "model.audio.blanks.count=1", "dataset.sample_rate=8000", "dataset.hop=80"]
    return words


def log(folder: Path) -> list[str]:
    random = np.random.default_rng(0)
    rows = [f"{u},{i},{t}" for u in range(24) for t, i in enumerate(random.permutation(20)[:8])]
    write(folder / "log.csv", "user,item,time", *rows)
    words = ["dataset=interactions", "task=rank", "task.learn=every_position", "task.repeats=false"]
    return [*words, "model=transformer", "attention=rope", "model.feedforward_dim=16"]


def hidden_log(folder: Path) -> list[str]:
    return [*log(folder), "task.learn=masked_positions"]


KINDS = {
    "pictures": pictures,
    "looked_at": looked_at,
    "boxes": boxes,
    "masks": masks,
    "pointed_at": pointed_at,
    "cluttered": cluttered,
    "sounds": sounds,
    "log": log,
    "hidden_log": hidden_log,
}
HEADLINES = {
    "looked_at": "cc",
    "log": "hr@10",
    "hidden_log": "hr@10",
    "boxes": "map50",
    "masks": "mean_dice",
}


@pytest.mark.parametrize("kind", KINDS)
def test_own_files_beyond_text_from_file_to_report(kind: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    words = KINDS[kind](data)
    judged = [] if any(w.startswith("metrics=") for w in words) else ["metrics.figures=[]"]
    run = ran(
        tmp_path,
        "~experiment",
        "task=classify",
        "objective=unsupervised",
        *words,
        *judged,
        *SHORT,
        "model.dim=16",
        f"dataset.folder={data}",
    )
    found, example = figures(run), shown(run)
    assert -1 <= found["answer"][HEADLINES.get(kind, "accuracy")] <= 1
    assert (run / "report.html").stat().st_size > 1000
    assert all(len(row) == len(example["keys"]) for row in example["map"])
    assert [p for p in (run / "maps").glob("*.png") if not p.stem.endswith("-heads")]
    if judged == []:
        oracle = found["controls"]["oracle"]
        assert oracle["cc" if kind == "looked_at" else "mass_on_gold"] == pytest.approx(1.0)
    assert (example["gold_regions"] is None) is (kind not in ("boxes", "masks"))
    if kind == "boxes":
        assert len(example["gold_regions"]["boxes"]) == 1 == len(example["map"])


@pytest.mark.parametrize("experiment", ["fsdd_connected", "fsdd_connected_conformer"])
def test_connected_words_from_recordings_to_report(experiment: str, tmp_path: Path) -> None:
    spoken(tmp_path)
    few = "dataset.sounds={train: 16, val: 4, test: 4}"
    run = ran(
        tmp_path,
        f"experiment={experiment}",
        f"paths.data={tmp_path}",
        few,
        *SHORT,
        "model.dim=16",
    )
    found, example = figures(run), shown(run)
    assert 0 <= found["answer"]["exact_match"] <= 1
    assert found["answer"]["ctc_character_error"] is not None
    assert found["controls"]["oracle"]["boundary_f1"] == pytest.approx(1.0)
    assert example["queries"] == list(example["gold"])
    assert len(example["spectrum"][0]) >= len(example["keys"]), "above the map"
    assert (run / "report.html").stat().st_size > 1000
