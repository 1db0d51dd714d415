"""`attnlab zoo`: trained models that come with the package, and a run of yours made as small.

    attnlab zoo                                the models, what they do and how well
    attnlab predict zoo/dates "3 May 2021"     one of them answers
    attnlab zoo pack latest my_model           a run without its data, to be given to somebody

A packed run holds its config, its best weights, vocabularies and figures. The weights are a
checkpoint like any other: read without running code, and compared with a checksum. It predicts
and explains at once; where it reads examples of its dataset, they are prepared first.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from rich import box
from rich.table import Table

from attnlab.config.section import config_dir
from attnlab.data.integrity import META, hashes
from attnlab.errors import UserError
from attnlab.report.summary import checksum, read_figures
from attnlab.stages import trusted_plugins
from attnlab.stages.prepare import PACKED
from attnlab.stages.run import Run, open_run, read_config
from attnlab.stages.run_folders import zoo_models
from attnlab.stages.run_status import write_status
from attnlab.stages.sweep_table import print_whole
from attnlab.text_files import write_whole

COMMAND = "list the trained models of the package; make a run small"
MIB = 1 << 20
HERE = ("paths.", "hydra.", "resume=", "stages=", "trainer.progress", "trainer.threads")
ABOUT = ("vocabulary.json", "vectors-*.npy")  # of prepared data: what a model needs to answer


def main(arguments: list[str]) -> None:
    """Do what the first word says; without one, list the models."""
    parser = argparse.ArgumentParser(
        prog="attnlab zoo",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", nargs="?", choices=["list", "pack"], default="list")
    parser.add_argument("run", nargs="?", help="of pack: the run")
    parser.add_argument("folder", nargs="?", type=Path, help="of pack: a new folder")
    trusted_plugins.add_option(parser)
    chosen = parser.parse_args(arguments)
    if (chosen.what == "pack") != (chosen.folder is not None):
        raise UserError("zoo: `attnlab zoo`, or `attnlab zoo pack RUN FOLDER`")
    if chosen.what == "list":
        show()
        return
    folder = pack(open_run(chosen.run, chosen.trust), chosen.folder)
    print(f"{folder}: {size_of(folder) / MIB:.2f} MiB\n  try: attnlab predict {folder} ...")


def show() -> None:
    """A line for each model of the package."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("model", "reads", "answers", "figure", "MiB"):
        table.add_column(name, justify="right" if name == "MiB" else "left", no_wrap=True)
    for folder in zoo_models():
        table.add_row(*described(folder))
    print_whole(table)
    print(
        'try: attnlab predict zoo/dates "3 May 2021"; where a picture or a sound is read: its file'
    )


def described(folder: Path) -> list[str]:
    """What `attnlab zoo` says of a packed run: name, inputs, answers, first figure, size."""
    config, figures = read_config(folder / "config.yaml"), read_figures(folder)
    data = json.loads((folder / PACKED / ABOUT[0]).read_text(encoding="utf-8"))
    inputs = ", ".join(f"{name} ({each['form']})" for name, each in data["inputs"].items())
    name, value = next((n, v) for n, v in figures["answer"].items() if n != "loss")
    answers = f"{data['answer']['form']} ({config['dataset']['name']})"
    size = f"{size_of(folder) / MIB:.2f}"
    return [f"zoo/{folder.name}", inputs, answers, f"{name} {value:.4f}", size]


def size_of(folder: Path) -> int:
    """Bytes of all files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def pack(run: Run, folder: Path) -> Path:
    """Write what a trained run needs to answer into a new folder.

    Raises:
        UserError: the folder is there, or the run was not evaluated, or has plugins.
    """
    if folder.exists():
        raise UserError(f"{folder}: is there already; try: another name")
    if run.config.plugins:
        names = ", ".join(run.config.plugins)
        raise UserError(f"{run.folder}: has plugins ({names}), which a packed run cannot bring")
    figures = read_figures(run.folder)
    from attnlab.stages.trained_run import TrainedRun
    from attnlab.training.checkpoint import AtomicCheckpointIO, from_here, read_checkpoint

    best = run.best_checkpoint if run.best_checkpoint.is_file() else run.last_checkpoint
    content, trained = read_checkpoint(best), TrainedRun(run)
    prepared, weights = trained.prepared, content["state_dict"]
    if run.config.model.tuning.kind != "full":  # with what was trained beside them merged in
        weights = trained.learner.state_dict()
    draft = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(draft, ignore_errors=True)
    (draft / PACKED).mkdir(parents=True)
    about = content["attnlab"] | {"config": {}}  # which stands beside it
    whole = {"state_dict": weights, "attnlab": about}
    AtomicCheckpointIO().save_checkpoint(whole, draft / "checkpoints" / best.name)
    for pattern in ABOUT:
        for path in prepared.folder.glob(pattern):
            shutil.copyfile(path, draft / PACKED / path.name)
    _write_json(draft / PACKED / META, prepared.meta | {"files": hashes(draft / PACKED)})
    usual = yaml.safe_load((config_dir() / "paths" / "default.yaml").read_text(encoding="utf-8"))
    model = run.plain["model"] | {"init": None}
    if run.config.model.tuning.merges:
        model |= {"tuning": {"kind": "full"}}
    plain = from_here(run.plain | {"paths": usual, "model": model})
    text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
    write_whole(draft / "config.yaml", text)
    kept = ("versions", "train_seconds", "peak_memory_mib")
    status = {name: run.status[name] for name in kept if name in run.status}
    # With these a later version knows the values of keys that it has and this one lacks.
    words = [word for word in run.status.get("overrides", []) if not word.startswith(HERE)]
    write_status(draft, state="finished", overrides=words, **status)
    known = {name: value for name, value in figures.items() if name not in ("files", "history")}
    _write_json(draft / "metrics.json", known | {"checksum": checksum(known)})
    draft.rename(folder)
    return folder


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    write_whole(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
