"""The kinds of optimizers, learning-rate schedules, callbacks and loggers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field

from attnlab.config.trainer import Callback, Logger, Optimizer, Schedule
from attnlab.errors import Mistake

OPTIMIZERS = "attnlab.training.optimizers"
SCHEDULES = "attnlab.training.optimizers"
CALLBACKS = "attnlab.training.callbacks"
LOGGERS = "attnlab.training.loggers"

Share = Annotated[float, Field(ge=0, lt=1)]
Betas = tuple[Share, Share]


class AdamW(Optimizer, kind="adamw", target=f"{OPTIMIZERS}:adamw"):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""

    betas: Betas = Field(description="decay of the running means")
    eps: float = Field(gt=0, description="added to the denominator")


class SGD(Optimizer, kind="sgd", target=f"{OPTIMIZERS}:sgd"):
    """Stochastic gradient descent with momentum; its weight decay is not decoupled."""

    momentum: Share = Field(description="part of the last step that is kept")
    nesterov: bool = Field(description="look ahead along the momentum")


class Adafactor(Optimizer, kind="adafactor", target=f"{OPTIMIZERS}:adafactor"):
    """Second moments by rows and columns, which saves memory (Shazeer & Stern 2018)."""

    beta2_decay: float = Field(lt=0, description="exponent of the decay of second moments")


class Lion(Optimizer, kind="lion", target=f"{OPTIMIZERS}:Lion"):
    """The sign of a momentum (Chen et al. 2023); a third to a tenth of AdamW's learning rate."""

    betas: Betas = Field(description="decay within the step, and of the momentum")


class Muon(Optimizer, kind="muon", target=f"{OPTIMIZERS}:Muon"):
    """Orthogonalised momentum for matrices, AdamW for the rest (Jordan et al. 2024)."""

    momentum: Share = Field(description="decay of the momentum of matrices")
    betas: Betas = Field(description="those of AdamW for the other parameters")


class Constant(Schedule, kind="constant", target=f"{SCHEDULES}:constant"):
    """Stays at its height."""


class Cosine(Schedule, kind="cosine", target=f"{SCHEDULES}:cosine"):
    """Falls along half a cosine to `floor` by the last step."""

    floor: float = Field(ge=0, le=1, description="factor at the last step")


class Cycles(Schedule, kind="cycles", target=f"{SCHEDULES}:cycles"):
    """Falls several times along half a cosine, each time from its height (Loshchilov & Hutter)."""

    count: int = Field(gt=0, description="how many times it falls")
    floor: float = Field(ge=0, le=1, description="factor at the end of each")


class InverseSqrt(Schedule, kind="inverse_sqrt", target=f"{SCHEDULES}:inverse_sqrt"):
    """Falls with the square root of the step (Vaswani et al. 2017)."""


class Ema(Callback, kind="ema", target=f"{CALLBACKS}:Ema"):
    """An average of the weights over the steps, used for evaluation."""

    decay: float = Field(gt=0, lt=1, description="share of the old average kept at each step")


class Swa(Callback, kind="swa", target=f"{CALLBACKS}:Swa"):
    """The mean of the weights over the last part of training (Izmailov et al. 2018)."""

    start: float = Field(ge=0, lt=1, description="share of training before the first is counted")
    every_steps: int = Field(gt=0, description="steps between two weights that are counted")


class Snapshots(Callback, kind="snapshots", target=f"{CALLBACKS}:Snapshots"):
    """Keep the weights at the end of each cycle of trainer/schedule=cycles (Huang et al. 2017), for
    `attnlab evaluate RUN --snapshots`."""

    def mistakes(self, config: Any) -> Iterator[Mistake]:
        yield from super().mistakes(config)
        if config.trainer.schedule.kind != "cycles":
            problem = f"'{config.trainer.schedule.kind}' has no cycles for snapshots to end"
            yield Mistake("trainer.schedule.kind", problem, "try: trainer/schedule=cycles")


class EarlyStopping(Callback, kind="early_stopping", target=f"{CALLBACKS}:EarlyStopping"):
    """Stop when validation no longer improves."""

    patience: int = Field(ge=0, description="validations without improvement before the stop")
    min_delta: float = Field(ge=0, description="what counts as an improvement")


class GradientNorm(Callback, kind="gradient_norm", target=f"{CALLBACKS}:GradientNorm"):
    """Logs the norm of the gradient, before it is clipped, as gradient/norm."""


class Unfreeze(Callback, kind="unfreeze", target=f"{CALLBACKS}:Unfreeze"):
    """The head learns first; then one more layer of the encoder at a time, from the top, at last
    the embedders (gradual unfreezing, Howard & Ruder 2018)."""

    every_epochs: int = Field(gt=0, description="epochs until the next layer below learns")

    def mistakes(self, config: Any) -> Iterator[Mistake]:
        yield from super().mistakes(config)
        if config.trainer.strategy != "single":
            problem = (
                f"what learns changes, which strategy '{config.trainer.strategy}' cannot follow"
            )
            yield Mistake(".kind", problem, "try: trainer.strategy=single")
        if config.model.tuning.kind == "head":
            problem = "of the encoder nothing learns with model/tuning=head"
            yield Mistake(".kind", problem, "try: model/tuning=full")


class WordVectors(Callback, kind="word_vectors", target=f"{CALLBACKS}:WordVectors"):
    """Write vectors.txt into the run's folder in the end: the words of the attended text, each with
    the numbers of its embedding, for dataset/vectors=file."""


SYSTEM_METRICS = "also show the load of processor, memory and GPU over time"


class Wandb(Logger, kind="wandb", target="attnlab.training.wandb_run:Wandb"):
    """Weights & Biases."""

    mode: Literal["offline", "online", "disabled"] = Field(
        description="offline needs no account; `attnlab sync RUN` uploads later"
    )
    entity: str | None = Field(description="team or user; null is the account's default")
    system_metrics: bool = Field(False, description=SYSTEM_METRICS)

    @property
    def enabled(self) -> bool:
        return self.mode != "disabled"


class TensorBoard(Logger, kind="tensorboard", target=f"{LOGGERS}:TensorBoard"):
    """Event files in `tensorboard/` of the run's folder."""


class MLflow(Logger, kind="mlflow", target=f"{LOGGERS}:MLflow"):
    """A run of the MLflow experiment that `project` names."""

    uri: str = Field(min_length=1, description="a database, such as sqlite:///FILE, or a server")


class Trackio(Logger, kind="trackio", target=f"{LOGGERS}:Trackio"):
    """Trackio's local dashboard."""

    folder: str = Field(min_length=1, description="where it keeps the runs of all projects")
    system_metrics: bool = Field(False, description=SYSTEM_METRICS)
