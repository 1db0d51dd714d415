"""How training runs, and where its figures and maps go besides the folder of the run.

`conf/trainer/*.yaml` and `conf/logger/*.yaml` hold the default values.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field, field_validator

from attnlab.config import combinations
from attnlab.config.section import Section, Variant, named_by_kind, or_null
from attnlab.config.task import AnswerForm
from attnlab.errors import Mistake


class Batches(Section):
    """How examples are put together."""

    size: int = Field(gt=0, description="examples in a batch, on each device")
    units: int | None = Field(
        gt=0,
        description="instead of size: as many examples as together have so many units, padding "
        "included, on their longer side (input or answer); null counts examples",
    )
    eval_size: int = Field(gt=0, description="examples in a batch where nothing is learned")
    in_memory: int = Field(
        ge=0,
        description="examples of a split kept in memory; others are read when it is their turn",
    )
    workers: int = Field(ge=0, le=1024, description="loader processes; 0 loads in the main process")
    bucket: int = Field(
        ge=1, description="batches drawn from this many batches sorted by length; 1 is no sorting"
    )
    sampling: Literal["shuffled", "balanced"] = Field(
        description="which examples an epoch has: each once, or as many drawn with replacement so "
        "that every label comes up equally often"
    )

    def mistakes(self, config: Any) -> Iterator[Mistake]:
        if self.sampling != "balanced":
            return
        form = config.dataset.answer_form
        if not AnswerForm.kinds()[form].is_class:
            problem = f"'balanced' needs answers that are labels; these are of form '{form}'"
            yield Mistake(".sampling", problem, "allowed: shuffled")
        if self.units is not None:
            yield Mistake(".units", "not with balanced sampling", "set trainer.batches.units=null")


class Optimizer(Variant, slot="optimizer"):
    """How parameters move."""

    lr: float = Field(gt=0, description="highest learning rate")
    weight_decay: float = Field(
        ge=0, description="decoupled weight decay of matrices and embeddings"
    )


class Schedule(Variant, slot="lr_schedule"):
    """How the learning rate moves; a factor on `optimizer.lr`."""

    warmup_steps: int = Field(ge=0, description="steps of linear rise at the start")


class Callback(Variant, slot="callback"):
    """What else happens while training."""


class Checkpoints(Section):
    """When the state of training is written."""

    every_steps: int = Field(gt=0, description="steps between two writings of last.ckpt")
    monitor: str = Field(description="figure that decides which checkpoint is the best")
    mode: Literal["min", "max"] = Field(description="whether the best is the lowest or highest")


class Trainer(Section):
    """Devices, precision, length and safety of a run."""

    name: str = Field(description="shown in tables")
    accelerator: Literal["cpu", "gpu", "auto"] = Field(description="where to compute")
    devices: int = Field(gt=0, description="processes on this machine, one for each device")
    num_nodes: int = Field(gt=0, description="machines")
    strategy: Literal["single", "ddp", "fsdp"] = Field(
        description="one process, copies of the model, or the model in shards (FSDP2)"
    )
    sequence_parallel: bool = Field(
        description="whether the processes share the positions of each text in place of the "
        "examples of a batch; strategy ddp, for texts too long for one device"
    )
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = Field(description="arithmetic")
    threads: int | None = Field(
        ge=1, le=1024, description="CPU threads of each process; null leaves it to torch"
    )
    max_epochs: int = Field(ge=-1, description="passes over the data; -1 is no limit")
    max_steps: int = Field(ge=-1, description="optimizer steps; -1 is no limit")
    validate_every: float = Field(gt=0, description="epochs between two validations")
    accumulate: int = Field(gt=0, description="batches to one optimizer step")
    clip_norm: float | None = Field(
        gt=0, description="largest norm of the gradient; null is no limit"
    )
    deterministic: bool = Field(description="same numbers again for the same seed")
    compile: bool = Field(description="torch.compile the model; pays off in long runs only")
    log_every: int = Field(gt=0, description="steps between two logged points")
    progress: bool = Field(description="show a progress bar")
    fast_dev_run: bool = Field(description="one batch of each split through every stage")
    overfit_batches: int = Field(ge=0, description="train on this many batches only; 0 is off")
    profile: bool = Field(description="write a table of where the time goes")
    batches: Batches
    optimizer: Optimizer
    schedule: Schedule
    callbacks: dict[str, Callback] = Field(
        description="what else happens while training, by name; a name may stand for its kind",
        json_schema_extra=or_null,
    )
    checkpoints: Checkpoints

    @field_validator("optimizer", mode="before")
    @classmethod
    def _usual_optimizer(cls, optimizer: Any) -> Any:
        """Runs of a time when there was one optimizer do not name it."""
        return {"kind": "adamw", **optimizer} if isinstance(optimizer, dict) else optimizer

    @field_validator("callbacks", mode="before")
    @classmethod
    def _named_by_kind(cls, callbacks: Any) -> Any:
        return named_by_kind(callbacks)

    @field_validator("max_epochs", "max_steps")
    @classmethod
    def _not_nothing(cls, limit: int) -> int:
        if limit == 0:
            raise ValueError("0 would train nothing; -1 is no limit")
        return limit

    def mistakes(self, config: Any) -> Iterator[Mistake]:
        if self.max_epochs < 0 and self.max_steps < 0:
            yield Mistake(".max_epochs", "no end: max_epochs and max_steps are both -1")
        if self.devices * self.num_nodes > 1 and self.strategy == "single":
            hint = "did you mean 'ddp'? allowed: ddp, fsdp"
            yield Mistake(".strategy", "'single' serves one device", hint)
        if self.sequence_parallel:
            yield from self._unshared(config)
        if self.precision == "16-mixed" and self.accelerator == "cpu":
            hint = "did you mean 'bf16-mixed'? allowed on CPU: 32-true, bf16-mixed"
            yield Mistake(".precision", "16-mixed is some 60 times slower on a CPU", hint)
        averages = [n for n, each in self.callbacks.items() if each.kind in ("ema", "swa")]
        if averages and self.strategy == "fsdp":
            hint = f"set trainer.callbacks.{averages[0]}=null"
            yield Mistake(f".callbacks.{averages[0]}", "not with strategy fsdp", hint)
        if self.fast_dev_run and self.overfit_batches:
            yield Mistake(".overfit_batches", "not with fast_dev_run", "choose one of the two")

    def _unshared(self, config: Any) -> Iterator[Mistake]:
        """What does not go with texts that processes share."""
        key, hint = ".sequence_parallel", "set trainer.sequence_parallel=false"
        if self.strategy != "ddp":
            yield Mistake(key, f"not with strategy '{self.strategy}'", "try: trainer.strategy=ddp")
        if self.compile:
            yield Mistake(key, "not with trainer.compile", "set trainer.compile=false")
        if not config.task.shares_texts:
            yield Mistake(key, f"task '{config.task.kind}' cannot share texts", hint)
        elif not config.model.meets_in_attention:
            problem = f"in model '{config.model.kind}' positions meet outside of self-attention"
            yield Mistake(key, problem, "try: model=transformer model.kernel=null")
        else:
            used = getattr(config.model, "self_attention", None) or config.attention
            if used.structure.form not in combinations.MASKS.split():
                problem = f"structure '{used.structure.kind}' needs all positions in one process"
                yield Mistake(key, problem, "try: attention/structure=causal")
        for name, term in config.objective.terms.items():
            if term is not None and not term.sums_positions:
                problem = f"term '{name}' needs whole texts"
                yield Mistake(key, problem, f"set objective.terms.{name}=null")


class Logger(Variant, slot="logger"):
    """Shows a run while it goes on."""

    @property
    def enabled(self) -> bool:
        """Whether it shows anything at all."""
        return True


class Logging(Section):
    """The loggers of a run, and what all of them show alike."""

    project: str = Field(description="runs that are shown together have the same")
    tags: list[str] = Field(description="words to find runs by")
    maps_every: int | None = Field(
        ge=0, description="validations between two of which maps are kept; 0 or null is never"
    )
    maps_examples: int = Field(gt=0, description="examples whose maps are kept and drawn")
    loggers: dict[str, Logger] = Field(
        description="by name; a name may stand for its kind", json_schema_extra=or_null
    )

    @field_validator("loggers", mode="before")
    @classmethod
    def _named_by_kind(cls, loggers: Any) -> Any:
        return named_by_kind(loggers)
