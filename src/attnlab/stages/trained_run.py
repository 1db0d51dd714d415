"""`TrainedRun`: a run with its model, task and data, as evaluate, predict and explain use it.

`TrainedEnsemble` is the same of several runs.

How the model of a run is built, trained or not, stands here too.
"""

from __future__ import annotations

import reprlib
import sys
from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from attnlab.config.evaluation import Combine
from attnlab.config.schema import Config
from attnlab.data.codec import Codec
from attnlab.data.prepared import Prepared
from attnlab.errors import RunError, UserError
from attnlab.metrics.pooled import map_metrics
from attnlab.models.ensemble import Member, together
from attnlab.models.transfer import start_from
from attnlab.models.tuning import merge
from attnlab.objectives.terms import Teacher
from attnlab.stages.prepare import data_of, prepared_data
from attnlab.stages.run import Run, open_run
from attnlab.stages.run_folders import run_folder
from attnlab.tasks.task import Task, build_model
from attnlab.training.checkpoint import not_finite, provenance, read_checkpoint
from attnlab.training.data_module import PreparedData
from attnlab.training.distributed import is_first_process
from attnlab.training.evaluator import Evaluator
from attnlab.training.learner import Learner
from attnlab.training.teacher import OwnUnits, Teachers, TrainedTeacher


class TrainedRun:
    """A run that was trained; data and model are read when they are first used."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.checkpoint: Path | None = None  # another one than the best

    @property
    def folder(self) -> Path:
        """Where its checkpoints, figures and reports are."""
        return self.run.folder

    @property
    def config(self) -> Config:
        """The checked config it was trained with."""
        return self.run.config

    @cached_property
    def prepared(self) -> Prepared:
        """Its data; those of another dataset in the config are the test examples."""
        trained_on = self.run.trained_on
        if trained_on is None:
            return data_of(self.folder, self.config)
        own = data_of(self.folder, self.config.model_copy(update={"dataset": trained_on}))
        return own.tested_on(prepared_data(self.config))

    @cached_property
    def device(self) -> torch.device:
        """Where it answers: see `device`."""
        return device(self.config)

    @cached_property
    def learner(self) -> Learner:
        """The trained model with its task and metrics, ready to answer."""
        return load_learner(self.run, self.prepared, self.checkpoint).to(self.device)

    @property
    def model(self) -> nn.Module:
        """The trained model, in evaluation mode."""
        return self.learner.model

    @property
    def task(self) -> Task:
        """How the model's outputs become answers."""
        return self.learner.task


class TrainedEnsemble(TrainedRun):
    """Several trained runs that answer as one; its folder and data are those of the first."""

    def __init__(self, parts: Sequence[TrainedRun], combine: Combine) -> None:
        super().__init__(parts[0].run)
        self.parts = parts
        self.combine: Combine = combine

    @cached_property
    def learner(self) -> Learner:
        """The first model, with the scores of all; each has its own map."""
        for part in self.parts[1:]:
            self._require_like_the_first(part)
        first, *others = (part.learner for part in self.parts)
        models = [Member(each.model, each.task.map) for each in (first, *others)]
        together(models, lambda outputs: first.task.combine(outputs, self.combine), self.combine)
        return first

    def _require_like_the_first(self, part: TrainedRun) -> None:
        """Raise a `UserError` where a run reads or answers differently from the first."""
        for what, of in FACTS_OF_AN_ENSEMBLE.items():
            first, other = of(self), of(part)
            if first != other:
                raise UserError(
                    f"{part.folder}: cannot answer together with {self.folder}: "
                    f"{what} is {reprlib.repr(other)}, there {reprlib.repr(first)}"
                )


class UnderDropout(TrainedRun):
    """A trained run that answers several times with its dropout on, as one (Gal & Ghahramani 2016).

    Its model is an ensemble of models that share their weights.
    """

    def __init__(self, run: Run, passes: int, combine: Combine) -> None:
        super().__init__(run)
        self.passes = passes
        self.combine: Combine = combine

    @cached_property
    def learner(self) -> Learner:
        """The model, with the scores of all passes."""
        learner = load_learner(self.run, self.prepared).to(self.device)
        model, task = learner.model, learner.task
        shared = {id(each): each for each in (*model.parameters(), *model.buffers())}
        models = [model, *(deepcopy(model, dict(shared)) for _ in range(self.passes - 1))]
        dropped = [m for each in models for m in each.modules() if isinstance(m, nn.Dropout)]
        if not any(layer.p for layer in dropped):
            raise UserError(
                f"--dropout: {self.folder} was trained without dropout; try: several runs"
            )
        for layer in dropped:
            layer.train()
        parts = [Member(each, task.map) for each in models]
        together(parts, lambda outputs: task.combine(outputs, self.combine), self.combine)
        return learner


def answering(
    runs: Sequence[Run], combine: Combine, dropout: int = 1, snapshots: bool = False
) -> TrainedRun:
    """What answers: a run, several as one, its passes under dropout, or its snapshots."""
    if len(runs) > 1 and (dropout > 1 or snapshots):
        option = "--snapshots" if snapshots else "--dropout"
        raise UserError(f"{option}: is of one run; here are {len(runs)}")
    if dropout > 1:
        return UnderDropout(runs[0], dropout, combine)
    parts = [TrainedRun(run) for run in runs]
    if snapshots:
        found = sorted((runs[0].folder / "checkpoints").glob("snapshot-*.ckpt"))
        if not found:
            raise UserError(
                f"--snapshots: {runs[0].folder} has none; "
                "try: trainer/schedule=cycles trainer/callbacks=snapshots in training"
            )
        parts = [TrainedRun(runs[0]) for _ in found]
        for part, path in zip(parts, found, strict=True):
            part.checkpoint = path
    return TrainedEnsemble(parts, combine) if len(parts) > 1 else parts[0]


FACTS_OF_AN_ENSEMBLE: dict[str, Callable[[TrainedRun], Any]] = {
    "task.kind": lambda trained: trained.config.task.kind,
    "the hash of its data": lambda trained: trained.prepared.digest,
    "how many units share a key": lambda trained: trained.prepared.layout,
    "its tokenizer": lambda trained: trained.prepared.spelling and trained.run.plain["model"],
    "its answers": lambda trained: trained.prepared.codec.answers.describe(),
}


def build_learner(run: Run, prepared: Prepared, total_steps: int = 0) -> Learner:
    """The model that the config describes, ready to be trained or loaded."""
    config = run.config
    model = build_model(config, prepared.codec)
    if config.trainer.compile:
        model.compile()
    task = config.task.build(prepared.codec)
    about = provenance(run.plain, prepared.digest)
    terms = {name: term.build() for name, term in config.objective.terms.items()}
    evaluator = Evaluator(task, map_metrics(config.metrics))
    return Learner(model, task, terms, evaluator, config.trainer, total_steps, about)


def load_learner(run: Run, prepared: Prepared, checkpoint: Path | None = None) -> Learner:
    """The trained model: this checkpoint; else the best, or the last where none was monitored."""
    best = run.best_checkpoint if run.best_checkpoint.is_file() else run.last_checkpoint
    chosen = checkpoint or best
    learner = build_learner(run, prepared)
    content = read_fitting(chosen, learner)
    if content["attnlab"].get("data_digest") not in ("", None, prepared.digest):
        print(f"{chosen}: was trained on data that differ from {prepared.folder}", file=sys.stderr)
    learner.load_state_dict(content["state_dict"])
    merge(learner.model)
    learner.task.use_decoding()
    return learner.eval()


def read_fitting(path: Path, learner: Learner) -> dict[str, Any]:
    """A checkpoint for this learner.

    Raises:
        UserError: its weights are no numbers.
        RunError: they are not those of this model.
    """
    content = read_checkpoint(path)
    saved, own = content["state_dict"], learner.state_dict()
    for name in sorted({*saved, *own}):
        shapes = [tuple(each[name].shape) if name in each else None for each in (saved, own)]
        if shapes[0] != shapes[1]:
            found, wanted = ("no such weight" if shape is None else str(shape) for shape in shapes)
            raise RunError(
                f"{path}: does not fit the model of {path.parents[1]}/config.yaml: {name} is "
                f"{found} there and {wanted} in the model"
            )
    if name := not_finite(content, learner.parameter_names()):
        raise UserError(
            f"{path}: its weights are NaN or infinite ({name}); try: resume=never "
            "with a lower trainer.optimizer.lr"
        )
    return content


def load_teacher(run: Run, data: PreparedData) -> Teacher | None:
    """The trained models that the run learns from, if there are any."""
    named = run.config.objective.teacher
    if named is None:
        return None
    folders = [named] if isinstance(named, str) else named
    try:
        teachers = [_teacher(run_folder(folder, beside=run.folder), data) for folder in folders]
    except UserError as error:
        raise UserError(f"objective.teacher: {error}") from None
    return teachers[0] if len(teachers) == 1 else Teachers(teachers)


def _teacher(folder: Path, data: PreparedData) -> TrainedTeacher:
    """A trained run as a teacher, which reads the examples in its own units."""
    trained, codec = TrainedRun(open_run(folder)), data.prepared.codec
    own = trained.prepared.codec
    if not own.answers.same_choices(codec.answers):
        raise UserError(f"{folder}: its answers are not those of this training")
    model = load_learner(trained.run, trained.prepared).model
    if _units(own) == _units(codec):
        return TrainedTeacher(model)
    return TrainedTeacher(model, OwnUnits(data.split("train"), own))


def _units(codec: Codec) -> dict[str, Any]:
    """What each input is made of."""
    return {name: (each.form, each.describe()) for name, each in codec.inputs.items()}


def start_from_other(learner: Learner, run: Run, prepared: Prepared) -> None:
    """Let the model start with the parameters of the run that `model.init` names, if any."""
    folder = run.config.model.init
    if folder is None:
        return
    try:
        other = TrainedRun(open_run(run_folder(folder, beside=run.folder)))
        if other.folder.resolve() == run.folder.resolve():
            raise UserError("is this run itself; try: attnlab runs")
        codecs = prepared.codec, other.prepared.codec
        whole = type(other.task) is type(learner.task)
        taken = start_from(learner.model, other.model, codecs, whole)
    except UserError as error:
        raise UserError(f"model.init: {folder}: {error}") from None
    if is_first_process():
        print(f"model.init: {folder}: {taken}")


def device(config: Config) -> torch.device:
    """The GPU if training uses one and one is here, else the CPU."""
    on_gpu = config.trainer.accelerator != "cpu" and torch.cuda.is_available()
    return torch.device("cuda" if on_gpu else "cpu")
