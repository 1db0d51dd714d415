"""Optimizers by kind, groups of parameters, and schedules of the learning rate.

Optimizers are built as `CLASS(groups, fused=..., **settings)`; a schedule is a factor for every
step that rises linearly over the warm-up.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adafactor, AdamW, Optimizer

Groups = list[dict[str, Any]]
KINDS = ("matrix", "embedding", "vector")
WITH_MATRICES = (nn.Linear, nn.Bilinear, nn.RNNBase, nn.RNNCellBase, nn.modules.conv._ConvNd)

Factor = Callable[[int], float]


def parameter_groups(module: nn.Module, lr: float, weight_decay: float) -> Groups:
    """Parameters by what they are and by learning rate; the group says what in `kind`.

    Matrices and embeddings decay. Vectors never do: biases, norms, scalars, one number for each
    head. A part of the model that was trained before has an `lr_factor`.
    """
    factors: dict[nn.Parameter, float] = {}
    for part in module.modules():
        factor: Any = getattr(part, "lr_factor", None)
        if factor is not None:
            factors.update((parameter, float(factor)) for parameter in part.parameters())
    groups: dict[tuple[bool, int, float], list[nn.Parameter]] = {}
    for parameter, kind in kinds_of_parameters(module).items():
        if parameter.requires_grad:
            factor = factors.get(parameter, 1.0)
            # The first group's learning rate is logged: that of new matrices.
            order = factor != 1.0, KINDS.index(kind), factor
            groups.setdefault(order, []).append(parameter)
    return [
        {
            "params": members,
            "lr": lr * factor,
            "weight_decay": 0.0 if KINDS[kind] == "vector" else weight_decay,
            "kind": KINDS[kind],
        }
        for (_, kind, factor), members in sorted(groups.items(), key=lambda group: group[0])
    ]


def kinds_of_parameters(module: nn.Module) -> dict[nn.Parameter, str]:
    """What each parameter is: matrix, embedding or vector."""
    kinds: dict[nn.Parameter, str] = {}
    for part in module.modules():
        for name, parameter in part.named_parameters(recurse=False):
            is_weight = isinstance(part, WITH_MATRICES) and name.startswith("weight")
            several = sum(size > 1 for size in parameter.shape) > 1
            if isinstance(part, nn.Embedding):
                kind = "embedding"
            else:
                kind = "matrix" if is_weight or (several and "bias" not in name) else "vector"
            kinds.setdefault(parameter, kind)
    return kinds


def adamw(
    groups: Groups,
    *,
    fused: bool,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
) -> Optimizer:
    """AdamW (Loshchilov & Hutter 2019), fused where it can be."""
    return AdamW(groups, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, fused=fused)


def sgd(
    groups: Groups, *, fused: bool, lr: float, momentum: float, nesterov: bool, weight_decay: float
) -> Optimizer:
    """Stochastic gradient descent with momentum (Sutskever et al. 2013)."""
    return SGD(
        groups,
        lr=lr,
        momentum=momentum,
        nesterov=nesterov,
        weight_decay=weight_decay,
        fused=fused,
    )


def adafactor(
    groups: Groups, *, fused: bool, lr: float, beta2_decay: float, weight_decay: float
) -> Optimizer:
    """Adafactor: second moments by rows and columns (Shazeer & Stern 2018)."""
    return Adafactor(groups, lr=lr, beta2_decay=beta2_decay, weight_decay=weight_decay)


class Lion(Optimizer):
    """The sign of a momentum: lr sign(b1 m + (1 - b1) g), decay decoupled (Chen et al. 2023)."""

    def __init__(
        self,
        groups: Groups,
        *,
        fused: bool,
        lr: float,
        betas: tuple[float, float],
        weight_decay: float,
    ) -> None:
        super().__init__(groups, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            first, second = group["betas"]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                momentum: Tensor = state["momentum"]
                update = momentum.lerp(parameter.grad, 1 - first).sign_()
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(update, alpha=-group["lr"])
                momentum.lerp_(parameter.grad, 1 - second)
        return loss


class Muon(Optimizer):
    """Orthogonalised momentum for matrices (Jordan et al. 2024), AdamW for all other parameters.

    The lengths of its steps are matched to those of AdamW (Liu et al. 2025), so that one learning
    rate serves both.
    """

    def __init__(
        self,
        groups: Groups,
        *,
        fused: bool,
        lr: float,
        momentum: float,
        betas: tuple[float, float],
        weight_decay: float,
    ) -> None:
        self.inner: list[Optimizer] = []
        matrices = _chosen(groups, lambda p, kind: kind == "matrix" and p.dim() == 2)
        others = _chosen(groups, lambda p, kind: kind != "matrix" or p.dim() != 2)
        super().__init__([*matrices, *others], {"lr": lr, "weight_decay": weight_decay})
        if matrices:
            self.inner.append(
                torch.optim.Muon(matrices, lr=lr, momentum=momentum, adjust_lr_fn="match_rms_adamw")
            )
        if others:
            self.inner.append(AdamW(others, lr=lr, betas=betas, fused=fused))
        self._share()

    def _share(self) -> None:
        """Show the groups and states of the inner optimizers as its own."""
        self.param_groups = [group for each in self.inner for group in each.param_groups]
        self.state.clear()
        for each in self.inner:
            self.state.update(each.state)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        loss = None if closure is None else closure()
        for each in self.inner:
            each.step()
        self._share()
        return loss

    def state_dict(self) -> dict[str, Any]:
        return {"state": {}, "param_groups": [], "inner": [o.state_dict() for o in self.inner]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for each, state in zip(self.inner, state_dict["inner"], strict=True):
            each.load_state_dict(state)
        self._share()


def _chosen(groups: Groups, choose: Callable[[nn.Parameter, str], bool]) -> Groups:
    """The same groups with some of their parameters; those without any are left out."""
    kept = [g | {"params": [p for p in g["params"] if choose(p, g["kind"])]} for g in groups]
    return [group for group in kept if group["params"]]


def constant(total_steps: int, *, warmup_steps: int) -> Factor:
    """Stays at one."""
    return lambda step: _warmup(step, warmup_steps)


def cosine(total_steps: int, *, warmup_steps: int, floor: float) -> Factor:
    """Half a cosine from one to `floor` (Loshchilov & Hutter 2017)."""

    def factor(step: int) -> float:
        share = min(max(step - warmup_steps, 0) / max(total_steps - warmup_steps, 1), 1.0)
        height = floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * share))
        return _warmup(step, warmup_steps) * height

    return factor


def cycles(total_steps: int, *, warmup_steps: int, count: int, floor: float) -> Factor:
    """So many cosines from one to `floor` (Loshchilov & Hutter 2017, warm restarts)."""
    ends = cycle_ends(total_steps, warmup_steps, count)

    def factor(step: int) -> float:
        number = sum(step >= end for end in ends[:-1])
        first = ends[number - 1] if number else warmup_steps
        fall = cosine(ends[number] - first, warmup_steps=0, floor=floor)
        return _warmup(step, warmup_steps) * fall(max(step - first, 0))

    return factor


def cycle_ends(total_steps: int, warmup_steps: int, count: int) -> list[int]:
    """How many steps are done at the end of each cycle."""
    length = max(total_steps - warmup_steps, 0) / count
    return [round(warmup_steps + length * number) for number in range(1, count + 1)]


def inverse_sqrt(total_steps: int, *, warmup_steps: int) -> Factor:
    """Falls with the square root of the step (Vaswani et al. 2017)."""

    def factor(step: int) -> float:
        fall = math.sqrt(max(warmup_steps, 1) / max(step + 1, warmup_steps, 1))
        return _warmup(step, warmup_steps) * fall

    return factor


def _warmup(step: int, warmup_steps: int) -> float:
    return min((step + 1) / warmup_steps, 1.0) if warmup_steps else 1.0
