"""A term for models that a small change of what they read, or attend to, must not mislead."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from attnlab.attention.taps import Intervention
from attnlab.data.batch import Batch
from attnlab.data.inputs import light, within
from attnlab.errors import UserError
from attnlab.objectives.answers import divergence
from attnlab.objectives.terms import AnswerTerm, StepView, TermLoss, changed_embeddings

INPUTS = "inputs"
PGD_REACH = 2.5  # all steps together go so many times as far as a change may (Madry et al. 2018)
NORMALIZED_BY_BATCH = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
SMALLEST = 1e-12  # of a norm that is divided by


class Adversarial(AnswerTerm):
    """The loss under the worst small noise, found by steps along its gradient.

    The noise is added to the embeddings of all inputs, or to the logits of one map. With labels the
    loss is the task's; without them (virtual) it is the KL from the answers of the undisturbed
    model, so that unlabelled examples can teach, too.

    | settings | is |
    |---|---|
    | inputs, 1 step | FGM (Miyato et al. 2017) |
    | inputs, several steps | PGD (Madry et al. 2018) |
    | inputs, several steps, `every_step` | FreeLB (Zhu et al. 2020) |
    | inputs, virtual | VAT (Miyato et al. 2019) |
    | a map | Attention AT (Kitada & Iyatomi 2021) |
    | a map, virtual | Attention VAT (Kitada & Iyatomi 2023) |
    """

    def __init__(
        self, *, where: str, virtual: bool, size: float, steps: int, every_step: bool
    ) -> None:
        super().__init__()
        self.where, self.virtual = where, virtual
        self.size, self.steps, self.every_step = size, steps, every_step

    def count(self, batch: Batch, task: Any) -> Tensor | None:
        return None if self.virtual else super().count(batch, task)

    def forward(self, view: StepView) -> TermLoss:
        clean = view.choices().detach().float().log_softmax(-1) if self.virtual else None
        noise = Noise(self.size, random=self.virtual or self.every_step)
        losses: list[Tensor] = []
        with statistics_kept(view.model):
            for step in range(self.steps):
                loss, _ = self._under(noise, view, clean)
                if self.every_step and step:
                    losses.append(loss)
                noise.ascend(loss, self.size * (1.0 if self.steps == 1 else 1.5 / self.steps))
        loss, count = self._under(noise, view, clean)
        return TermLoss(torch.stack([*losses, loss]).mean(), count)

    def _under(self, noise: Noise, view: StepView, clean: Tensor | None) -> tuple[Tensor, Tensor]:
        """The loss under noise, summed over all that is predicted, and how much that is."""
        with self._disturbed(view.model, noise):
            scores = view.run_again()
        if clean is None:
            sums, counts = view.task.losses(scores, view.batch)
            return sums.sum(), counts.sum()
        log_p = view.choices(scores).float().log_softmax(-1)  # batch x positions x choices
        counted = view.chosen()
        return (divergence(clean, log_p) * counted).sum(), counted.sum()

    @contextmanager
    def _disturbed(self, model: nn.Module, noise: Noise) -> Iterator[None]:
        """While open, forward passes of the model are those with the noise."""
        noise.begin()
        if self.where == INPUTS:
            change = changed_embeddings(_embedders(model), noise.on_embeddings)
        else:
            change = Intervention(model, self.where, noise.on_weights)
        with change:
            yield


@contextmanager
def statistics_kept(model: nn.Module) -> Iterator[None]:
    """While open, batch normalization leaves its running statistics as they are.

    They would be those of inputs on the way to the worst ones, which evaluation never sees.
    """
    layers = [each for each in model.modules() if isinstance(each, NORMALIZED_BY_BATCH)]
    momenta = [layer.momentum for layer in layers]
    try:
        for layer in layers:
            layer.momentum = 0.0
        yield
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum


def _embedders(model: nn.Module) -> Iterator[nn.Module]:
    """Those of every reader in the model."""
    for module in model.modules():
        yield from getattr(module, "embedders", ())


class AdversarialValues(AnswerTerm):
    """The loss on pictures and sounds, changed by what raises it most within `size` (L-inf).

    From a random start, steps along the sign of the gradient (Madry et al. 2018). One step (Wong et
    al. 2020) costs one forward and backward pass more than none.
    """

    def __init__(self, *, size: float, steps: int) -> None:
        super().__init__()
        self.size, self.steps = size, steps
        self.step = size * (1.25 if steps == 1 else PGD_REACH / steps)

    def forward(self, view: StepView) -> TermLoss:
        inputs = view.batch.inputs
        values = {
            name: light(each.values)
            for name, each in inputs.items()
            if each.values.dtype == torch.uint8 or each.values.is_floating_point()
        }
        if not values:
            raise UserError("objective.terms: no input is a picture or a sound; try: pgd")
        moved = {
            name: within(each + self.size * (2 * torch.rand_like(each) - 1), each, self.size)
            for name, each in values.items()
        }
        with statistics_kept(view.model):
            for _ in range(self.steps):
                leaves = {name: each.requires_grad_() for name, each in moved.items()}
                slopes = torch.autograd.grad(_losses(view, leaves)[0].sum(), list(leaves.values()))
                moved = {
                    name: within(leaf.detach() + self.step * slope.sign(), values[name], self.size)
                    for (name, leaf), slope in zip(leaves.items(), slopes, strict=True)
                }
        sums, counts = _losses(view, moved)
        return TermLoss(sums.sum(), counts.sum())


def _losses(view: StepView, values: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """The task's losses of each example with these values of inputs, and what they count."""
    inputs = view.batch.inputs
    changed = {name: inputs[name]._replace(values=each) for name, each in values.items()}
    batch = replace(view.batch, inputs=inputs | changed)
    return view.task.losses(view.task.run(view.model, batch), batch)


@dataclass
class Part:
    """The noise of one place that a forward pass comes to."""

    noise: Tensor  # a leaf, of at most the length that is allowed
    scale: Tensor  # what it is multiplied by before it is added
    dims: tuple[int, ...]  # over which its length is taken

    def ascend(self, slope: Tensor, step: float, most: float) -> None:
        """A step of this length along the gradient, then back to the length that is allowed."""
        moved = self.noise.detach() + step * slope / self.length(slope)
        moved = moved * (most / self.length(moved)).clamp_max(1.0)
        self.noise = moved.requires_grad_()

    def length(self, tensor: Tensor) -> Tensor:
        return tensor.norm(dim=self.dims, keepdim=True).clamp_min(SMALLEST)


class Noise:
    """What is added to embeddings or to the logits of a map, the same in every forward pass.

    Its length is at most `size`: of the logits of each row of a map; or, as a share of their own
    length, of the embeddings of each example.
    """

    def __init__(self, size: float, random: bool) -> None:
        self.size, self.random = size, random
        self.parts: list[Part] = []  # in the order in which a forward pass comes to them
        self.used = 0

    def begin(self) -> None:
        """A forward pass begins."""
        self.used = 0

    def on_embeddings(self, module: nn.Module, inputs: Any, memory: Any) -> Any:
        """A forward hook of an embedder, which gives a `Memory` of values and a mask."""
        values = memory.values  # batch x keys x width
        real = memory.mask[..., None]
        scale = (values.detach() * real).norm(dim=(1, 2), keepdim=True)
        return memory._replace(values=values + self._next(values, scale, (1, 2), real))

    def on_weights(self, weights: Tensor, allowed: Tensor | None) -> Tensor:
        """softmax(logits + noise) of softmax(logits): batch x heads x queries x keys."""
        scale = torch.ones_like(weights[..., :1])
        changed = weights * self._next(weights, scale, (-1,), weights > 0).exp()
        return changed / changed.sum(-1, keepdim=True).clamp_min(SMALLEST)

    def _next(self, like: Tensor, scale: Tensor, dims: tuple[int, ...], real: Tensor) -> Tensor:
        if self.used == len(self.parts):  # the first pass
            part = Part(torch.zeros_like(like), scale, dims)
            if self.random:
                random = torch.randn_like(like) * real
                part.noise = 0.1 * self.size * random / part.length(random)
            part.noise.requires_grad_()
            self.parts.append(part)
        part = self.parts[self.used]
        self.used += 1
        return part.noise * part.scale * real

    def ascend(self, loss: Tensor, step: float) -> None:
        """A step of every part towards a higher loss."""
        noises = [part.noise for part in self.parts]
        slopes = torch.autograd.grad(loss, noises, retain_graph=True, allow_unused=True)
        for part, slope in zip(self.parts, slopes, strict=True):
            if slope is not None:
                part.ascend(slope, step, self.size)
