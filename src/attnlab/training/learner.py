"""`Learner`: the one LightningModule. A model, a task, the terms of the loss, and a teacher."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from functools import cache
from typing import Any

import lightning.pytorch as pl
import torch
import torch.distributed
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard

from attnlab.attention.parts_of_texts import TextPart
from attnlab.attention.taps import Tap
from attnlab.compat import lightning_steps
from attnlab.config.trainer import Trainer as TrainerSettings
from attnlab.data.batch import Batch
from attnlab.errors import RunError
from attnlab.models.memory import StateTap, tapped
from attnlab.objectives.terms import StepView, Teacher, Term, TermLoss
from attnlab.tasks.task import Task
from attnlab.training.checkpoint import FORMAT, not_finite
from attnlab.training.evaluator import Evaluator
from attnlab.training.history import MapRecorder
from attnlab.training.optimizers import parameter_groups

# Of optimizers: states that have a number for each of a parameter's.
LIKE_PARAMETERS = {"exp_avg", "exp_avg_sq", "momentum_buffer"}


class Learner(pl.LightningModule):
    """Minimises the weighted sum of the terms; validates by the evaluator."""

    def __init__(
        self,
        model: nn.Module,
        task: Task,
        terms: Mapping[str, Term],
        evaluator: Evaluator,
        settings: TrainerSettings,
        total_steps: int,
        about: dict[str, Any],
    ) -> None:
        super().__init__()
        self.model = model
        self.task, self.settings = task, settings
        self.total_steps, self.about = total_steps, about
        self.terms = nn.ModuleDict(
            {name: term for name, term in terms.items() if term.applies_to(model)}
        )
        self.evaluator = evaluator
        self.teacher: Teacher | None = None  # set by whoever trains the learner
        self.part: TextPart | None = None  # of each text, where processes share texts
        self.started = False  # whether all that a checkpoint holds is restored

    def losses(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss to minimise, and what to log of its terms by name."""
        view, active = self._view(batch)
        total, figures = torch.zeros((), device=self.device), {}
        for name, term in active.items():
            loss: TermLoss = term(view)
            value = loss.total / self._divisor(term, loss, batch)
            total = total + term.weight_at(view.step) * value
            figures[name] = value.detach()
            figures |= {f"{name}_{figure}": value for figure, value in loss.figures.items()}
        return total, figures

    def _divisor(self, term: Term, loss: TermLoss, batch: Batch) -> Tensor:
        """What a sum is divided by: the mean count of all processes and accumulated batches.

        Gradients are averaged over both, so that they become those of the mean over all that
        counts. A count that is only known after the forward pass is that of the batch at hand.
        """
        count = loss.count.detach()
        if batch.window and self.teacher is None:
            counts = [term.count(each, self.task) for each in batch.window]
            known = [each for each in counts if each is not None]
            if len(known) == len(counts):
                count = torch.stack(known).sum(0).to(count.device) / self.settings.accumulate
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            count = count.to(torch.float32, copy=True)
            torch.distributed.all_reduce(count)
            count = count / torch.distributed.get_world_size()
        divisor = term.divisor(count)
        return torch.where(divisor > 0, divisor, 1.0)

    def _view(self, batch: Batch) -> tuple[StepView, dict[str, Term]]:
        """One forward pass as the terms see it, and the terms that count at this step."""
        step = self.global_step
        terms: dict[str, Any] = dict(self.terms)
        active = {name: term for name, term in terms.items() if term.weight_at(step)}
        wanted = dict.fromkeys(site for term in active.values() for site in term.sites())
        uses_states = any(term.uses_states for term in active.values())
        with ExitStack() as stack:
            taps = {site: stack.enter_context(tapped(self.model, site)) for site in wanted}
            state_tap = stack.enter_context(StateTap(self.model)) if uses_states else None
            scores = self.task.run(self.model, batch)
        sums, counts = self.task.losses(scores, batch)  # each batch
        shared = (batch, self.model, self.task, scores, sums, counts, taps, step, self.teacher)
        return StepView(*shared, state_tap and state_tap.states()), active

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss, terms = self.losses(batch if self.part is None else batch.read_in_part(self.part))
        if lightning_steps(self.trainer) % self.settings.log_every == 0:
            self._log_training(loss.detach(), terms)
        return loss

    def _log_training(self, loss: Tensor, terms: dict[str, Tensor]) -> None:
        """Loggers are called by hand: `self.log` costs more than a small model's step."""
        figures = {"loss": loss, **{f"loss_{name}": value for name, value in terms.items()}}
        means = self.trainer.strategy.reduce(torch.stack(list(figures.values())), reduce_op="mean")
        values = {f"train/{n}": v for n, v in zip(figures, means.tolist(), strict=True)}  # type: ignore[union-attr]
        values["train/lr"] = self.trainer.optimizers[0].param_groups[0]["lr"]
        for logger in self.loggers:
            logger.log_metrics(values, self.global_step)
        self.log("loss", values["train/loss"], prog_bar=True, logger=False)

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor | None:
        """Add a batch to the figures; its maps with the rows of gold: batch x queries x keys.

        None where no figure and nobody else wants maps: those of long texts fit no memory.
        """
        trainer: Any = self.trainer
        recorded = any(isinstance(each, MapRecorder) for each in trainer.callbacks)
        if not self.evaluator.maps and not recorded:
            scores = self.task.run(self.model, batch)
            self.evaluator.update(batch, scores, self.task.answer(self.model, batch), None)
            return None
        with Tap(self.model, self.task.map) as tap:
            scores = self.task.run(self.model, batch)
        weights = tap.log_weights().exp().mean(1)  # batch x queries x keys
        weights = self.task.as_gold(weights, scores, batch)
        self.evaluator.update(batch, scores, self.task.answer(self.model, batch), weights)
        return weights

    def on_validation_epoch_end(self) -> None:
        self.log_dict({f"val/{name}": value for name, value in self.evaluator.compute().items()})
        self.evaluator.reset()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        settings = self.settings.optimizer
        groups = parameter_groups(self, settings.lr, settings.weight_decay)
        # Lightning cannot clip what a fused optimizer unscales; shards have no fused one.
        fused = self.settings.precision == "32-true" and self.settings.strategy != "fsdp"
        optimizer = settings.build(groups, fused=fused)
        # Not Lightning's own estimate: it sets up the loader before its state is restored.
        factor = self.settings.schedule.build(self.total_steps)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def setup(self, stage: str) -> None:
        on_cpu = self.device.type == "cpu" and self.settings.precision == "bf16-mixed"
        if on_cpu and not cpu_has_bf16_recurrence():
            keep_recurrent_in_fp32(self.model)

    def configure_model(self) -> None:
        """Put the model in shards where the strategy asks for it (FSDP2).

        Parameters stay together from the forward pass to the backward: the loss on a map and the
        answers of validation use them outside of `forward`.
        """
        if self.settings.strategy != "fsdp" or isinstance(self.model, FSDPModule):
            return
        mesh = self.device_mesh["data_parallel"]  # type: ignore[index]
        blocks = [b for m in self.model.modules() if isinstance(m, nn.ModuleList) for b in m]
        for block in [b for b in blocks if _has_many_parameters(b)]:
            fully_shard(block, mesh=mesh, reshard_after_forward=False)
        fully_shard(self.model, mesh=mesh, reshard_after_forward=False)

    def on_fit_start(self) -> None:
        """Share texts where the settings say so, in a group of its own: DDP's sums do not mix."""
        if self.settings.sequence_parallel:
            group = torch.distributed.new_group()
            self.part = TextPart(self.trainer.global_rank, self.trainer.world_size, group)

    def on_train_start(self) -> None:
        """Compare a restored optimizer with the parameters: fused kernels do not look at shapes."""
        for optimizer in self.trainer.optimizers:
            for parameter, state in optimizer.state.items():
                for name in LIKE_PARAMETERS & state.keys():
                    if state[name].shape != parameter.shape:
                        raise ValueError(f"{name} of the optimizer has another shape")
        self.started = True

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say where the model comes from; refuse weights that are no numbers."""
        if name := not_finite(checkpoint, self.parameter_names()):
            raise RunError(
                f"the weights are NaN or infinite after step {self.global_step} ({name}); they are "
                "not saved\n  try: a lower trainer.optimizer.lr, or trainer.clip_norm=1.0"
            )
        checkpoint[FORMAT] = self.about

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on within the epoch in which `max_steps` ended, which Lightning counts as done."""
        loop = checkpoint["loops"]["fit_loop"]
        for loader in loop["state_dict"].get("combined_loader", []):
            epoch = loader["epoch"]  # of the next batch, as the loader itself counts
            if loader["skip"] and loop["epoch_progress"]["current"]["completed"] > epoch:
                begun = {"ready": epoch + 1, "started": epoch + 1}
                done = {"processed": epoch, "completed": epoch}
                loop["epoch_progress"] = dict.fromkeys(("total", "current"), begun | done)

    def parameter_names(self) -> list[str]:
        """What a checkpoint calls the parameters."""
        return [name for name, _ in self.named_parameters()]


def _has_many_parameters(module: nn.Module) -> bool:
    """Worth a shard of its own; a norm is not."""
    return sum(p.numel() for p in module.parameters()) > 10_000


@cache
def cpu_has_bf16_recurrence() -> bool:
    """Whether oneDNN has a bf16 LSTM on this CPU; it has none with AVX2 alone."""
    layer = nn.LSTM(8, 8)
    try:
        with torch.autocast("cpu", torch.bfloat16), torch.random.fork_rng():
            output, _ = layer(torch.zeros(2, 1, 8))
            output.sum().backward()
    except RuntimeError:
        return False
    return True


class _InFullPrecision:
    """Mixed into a recurrent layer whose input may be bf16 and whose arithmetic is fp32."""

    def forward(self, input: Any, hx: Any = None) -> Any:  # noqa: A002 - torch's name
        with torch.autocast("cpu", enabled=False):
            states = tuple(each.float() for each in hx) if isinstance(hx, tuple) else hx
            states = states.float() if isinstance(states, torch.Tensor) else states
            return super().forward(input.float(), states)  # type: ignore[misc]


class FullPrecisionLSTM(_InFullPrecision, nn.LSTM):
    """An LSTM that computes in fp32 under autocast."""


class FullPrecisionGRU(_InFullPrecision, nn.GRU):
    """A GRU that computes in fp32 under autocast."""


def keep_recurrent_in_fp32(model: nn.Module) -> None:
    """Let the recurrent layers of a model compute in fp32 under autocast, in place."""
    for module in model.modules():
        if type(module) is nn.LSTM:
            module.__class__ = FullPrecisionLSTM
        elif type(module) is nn.GRU:
            module.__class__ = FullPrecisionGRU
