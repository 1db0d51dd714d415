"""The kinds of terms on answers and states, and of schedules of their weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field

from attnlab.config.objective import Schedule, Term
from attnlab.errors import Mistake

TERMS = "attnlab.objectives.terms"
ANSWERS = "attnlab.objectives.answers"
FAITHFUL = "attnlab.objectives.faithful"
PREDICTORS = "attnlab.objectives.predictors"
STATES = "attnlab.objectives.states"


class Constant(Schedule, kind="constant", target=f"{TERMS}:Constant"):
    """The same weight throughout."""


class Warmup(Schedule, kind="warmup", target=f"{TERMS}:Warmup"):
    """From nothing to the full weight, in a straight line."""

    steps: int = Field(gt=0, description="training steps until the full weight is reached")


class Decay(Schedule, kind="decay", target=f"{TERMS}:Decay"):
    """The full weight first, then in a straight line to a part of it."""

    start: int = Field(ge=0, description="training step at which the weight begins to fall")
    steps: int = Field(gt=0, description="training steps that the fall takes")
    final: float = Field(ge=0, le=1, description="part of the weight that is left at the end")


class TaskTerm(Term, kind="task", target=f"{ANSWERS}:TaskLoss"):
    """The loss of the task itself."""

    sums_positions = True


class Reinforce(Term, kind="reinforce", target=f"{ANSWERS}:Reinforce"):
    """The gradient of sampled maps (Williams 1992); nothing where no map is sampled."""

    sums_positions = True

    def mistakes(self, config: Any) -> Iterator[Mistake]:
        yield from super().mistakes(config)
        used = [config.attention, getattr(config.model, "self_attention", None)]
        rewarded = any(each is not None and each.normalizer.kind == "reinforce" for each in used)
        if config.trainer.sequence_parallel and rewarded:
            problem = "the reward of a text is not there where processes share it"
            yield Mistake(".kind", problem, "set trainer.sequence_parallel=false")


class RDrop(Term, kind="r_drop", target=f"{ANSWERS}:RDrop"):
    """Two passes with different dropout have to give the same answer (Liang et al. 2021)."""


class TaughtTerm(Term):
    """A term that learns from a teacher."""

    def mistakes(self, config: Any) -> Iterator[Mistake]:
        yield from super().mistakes(config)
        if config.objective.teacher is None:
            problem = f"{self.kind} learns from a teacher, and there is none"
            yield Mistake("objective.teacher", problem, "try: objective.teacher=RUN")


class SimCse(Term, kind="simcse", target=f"{ANSWERS}:SimCse"):
    """Two passes of an example are more alike than those of two examples (Gao et al. 2021)."""

    temperature: float = Field(gt=0, description="what cosines are divided by")


class Crops(SimCse, kind="crops", target=f"{ANSWERS}:Crops"):
    """An example and a part of it are more alike than two examples (Chen et al. 2020)."""

    share: float = Field(gt=0, le=1, description="least part: of each side of a picture, or of all")


class MaskedSteps(SimCse, kind="masked_steps", target=f"{STATES}:MaskedSteps"):
    """Contrastive loss: the embedding at each masked step against those at others (Baevski et al.
    2020)."""

    share: float = Field(gt=0, lt=1, description="of the steps, patches or units that are hidden")
    span: int = Field(gt=0, description="steps that are hidden together")


class LogitDistillation(
    TaughtTerm, kind="logit_distillation", target=f"{ANSWERS}:LogitDistillation"
):
    """KL from a teacher's choices at a temperature (Hinton et al. 2015)."""

    temperature: float = Field(gt=0, description="above 1 unlikely choices count more")


class StateDistillation(
    TaughtTerm, kind="state_distillation", target=f"{STATES}:StateDistillation"
):
    """1 - the cosine of states and a teacher's (Sanh et al. 2019)."""

    of: Literal["all", "pooled"] = Field(
        description="all states that are attended to, or the one that is answered from"
    )
    width: int | None = Field(
        gt=0,
        description="width of the teacher's states, of several teachers their sum: ours are "
        "projected to it; null where it is that of the model",
    )


class LabelTerm(Term):
    """A term on examples with labels."""

    def mistakes(self, config: Any) -> Iterator[Mistake]:
        yield from super().mistakes(config)
        if "label" not in config.task.answer_forms:
            problem = f"{self.kind} compares examples by their labels, which task "
            problem += f"'{config.task.kind}' has none of"
            yield Mistake(".kind", problem, "try: task=classify")


class Mixup(LabelTerm, kind="mixup", target=f"{ANSWERS}:Mixup"):
    """Embeddings mixed in pairs have both labels (Zhang et al. 2018)."""

    alpha: float = Field(gt=0, description="of Beta(alpha, alpha): higher mixes more evenly")


class Center(LabelTerm, kind="center", target=f"{STATES}:Center"):
    """States near the center of their label (Wen et al. 2016)."""

    rate: float = Field(gt=0, le=1, description="how far a center moves with each batch")


class Triplet(LabelTerm, kind="triplet", target=f"{STATES}:Triplet"):
    """States nearer to those of their own label than to others (Schroff et al. 2015)."""

    margin: float = Field(gt=0, description="by how much nearer")


class SupervisedContrastive(
    LabelTerm, kind="supervised_contrastive", target=f"{STATES}:SupervisedContrastive"
):
    """States of one label alike, in comparison with all others (Khosla et al. 2020)."""

    temperature: float = Field(gt=0, description="divides the cosines; lower is stricter")


class Focal(Term, kind="focal", target=f"{ANSWERS}:Focal"):
    """Cross-entropy in which choices that are right already count less (Lin et al. 2017)."""

    sums_positions = True

    gamma: float = Field(ge=0, description="how much less; 0 is cross-entropy")


class MeanTeacher(Term, kind="mean_teacher", target="attnlab.objectives.mean_teacher:MeanTeacher"):
    """Answers and maps like those of the mean of the weights over steps; needs no labels."""

    decay: float = Field(gt=0, lt=1, description="share of the old mean that is kept at each step")
    maps: float = Field(
        ge=0, description="factor of the maps of examples without gold beside the answers"
    )
    site: str = Field(min_length=1, description="these maps: pooling, decoder.cross.-1, ...")
    least: float = Field(
        ge=0,
        lt=1,
        description="probability that the mean has to give its choice, or the right one where that "
        "is known, to be learned from",
    )

    def mistakes(self, config: Any) -> Iterator[Mistake]:
        yield from super().mistakes(config)
        if config.trainer.strategy == "fsdp":
            problem = "a mean of weights needs whole weights, and strategy 'fsdp' has shards"
            yield Mistake(".kind", problem, "try: trainer.strategy=auto")


class Adversarial(Term, kind="adversarial", target="attnlab.objectives.adversarial:Adversarial"):
    """The loss under the worst small noise on the embeddings, or on the logits of a map."""

    where: str = Field(min_length=1, description="inputs, or a map: pooling, decoder.cross.-1, ...")
    virtual: bool = Field(
        description="move the answers away from those without noise; else, away from gold"
    )
    size: float = Field(
        gt=0,
        description="longest noise: of the logits of a row; of embeddings as a share of their own "
        "length",
    )
    steps: int = Field(gt=0, description="steps along the gradient")
    every_step: bool = Field(description="train on the noise of every step, not of the last alone")


class AdversarialValues(
    Term, kind="adversarial_values", target="attnlab.objectives.adversarial:AdversarialValues"
):
    """The loss on pictures and sounds under the worst small change of their values."""

    size: float = Field(gt=0, description="largest change of a value; pictures are from 0 to 1")
    steps: int = Field(gt=0, description="steps along the sign of the gradient")


class MarginTerm(Term):
    """How far the loss of a changed pass is from where it should be."""

    site: str = Field(min_length=1, description="the map: pooling, decoder.cross.-1, ...")
    margin: float = Field(
        ge=0,
        description="rise of the loss over that of the unchanged pass, at most up to the loss of a "
        "guess",
    )


class Uninformed(MarginTerm, kind="uninformed", target=f"{FAITHFUL}:Uninformed"):
    """The loss under a map that knows nothing has to be higher by the margin."""

    change: Literal["uniform", "permuted"] = Field(
        description="the same weight everywhere, or the model's own weights on other keys"
    )


class MarkedUnits(MarginTerm):
    """Units with most of the map are erased, or alone are kept."""

    share: float = Field(gt=0, lt=1, description="of the units of each example that are marked")


class Comprehensiveness(
    MarkedUnits, kind="comprehensiveness", target=f"{FAITHFUL}:Comprehensiveness"
):
    """The loss without the marked units has to be higher by the margin (DeYoung et al. 2020)."""


class Sufficiency(MarkedUnits, kind="sufficiency", target=f"{FAITHFUL}:Sufficiency"):
    """The loss of the marked units alone may be higher by the margin, and no more."""


class BlockTerm(Term):
    """A loss of the predictors of blocks."""

    trains_blocks = True

    def mistakes(self, config: Any) -> Iterator[Mistake]:
        yield from super().mistakes(config)
        used = [config.attention, getattr(config.model, "self_attention", None)]
        if not any(each is not None and each.structure.kind == "predicted" for each in used):
            problem = f"{self.kind} trains what attention/structure=predicted chooses by"
            yield Mistake(".kind", problem, "try: attention/structure=predicted")


class BlockDistillation(
    BlockTerm, kind="block_distillation", target=f"{PREDICTORS}:BlockDistillation"
):
    """Towards what the model's own dense map has in each block."""

    rows: int | None = Field(
        gt=0, description="queries of each block whose dense maps are computed; null is all"
    )
    pool: Literal["mean", "most"] = Field(
        description="mean of these queries' shares of a block, or the largest"
    )


class BlockGold(BlockTerm, kind="block_gold", target=f"{PREDICTORS}:BlockGold"):
    """Towards the blocks that hold gold evidence."""

    learns_gold = True
    queries: Literal["last", "all"] = Field(
        description="which blocks are to read the evidence, where gold has no row for each "
        "position: that of the last unit (a question at the end), or all"
    )
