"""A term that learns from the model's own past, with labels and gold maps or without."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import replace
from typing import Self

import torch
from torch import Tensor, nn

from attnlab.attention.taps import Tap
from attnlab.attention.tensors import entropy
from attnlab.objectives.answers import divergence
from attnlab.objectives.attention import as_shares, cross_entropy
from attnlab.objectives.terms import StepView, Term, TermLoss


class MeanTeacher(Term):
    """KL from the answers of the mean of the weights over steps (Tarvainen & Valpola 2017).

    The mean model drops nothing. Maps of examples without a gold map may be learned from it, too:
    their KL, the mean over rows, is added to that of the answers with the factor `maps`. The mean
    is short at first, so that the random weights of the start are soon forgotten.

    Nothing is learned where the mean model is less sure than `least` of what it chooses, or of
    what is right where that is known (Sohn et al. 2020, "FixMatch").
    """

    mean: nn.Module
    followed: Tensor  # steps whose weights are in the mean

    def __init__(self, *, decay: float, maps: float, site: str, least: float) -> None:
        super().__init__()
        self.decay, self.maps, self.site, self.least = decay, maps, site, least
        self.register_buffer("followed", torch.zeros((), dtype=torch.long))

    def applies_to(self, model: nn.Module) -> bool:
        self.mean = deepcopy(model).requires_grad_(False).eval()
        return True

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        self.mean.eval()
        return self

    def sites(self) -> Sequence[str]:
        return (self.site,) if self.maps else ()

    def forward(self, view: StepView) -> TermLoss:
        self.follow(view.model, view.step)
        with torch.no_grad(), ExitStack() as stack:
            taps = {site: stack.enter_context(Tap(self.mean, site)) for site in self.sites()}
            taught = replace(view, scores=view.task.run(self.mean, view.batch), taps=taps)
            log_p = taught.choices().float().log_softmax(-1)
            log_maps = {site: taught.log_map(site) for site in taps}
        log_q = view.choices().float().log_softmax(-1)  # batch x positions x choices
        chosen = view.chosen()  # batch x positions
        learned = chosen & self.sure(view, log_p)
        apart = (divergence(log_p, log_q) * learned).sum(1)  # batch
        for site, log_map in log_maps.items():
            apart = apart + self.maps * self._of_maps(view, site, log_map) * learned.sum(1)
        share = learned.sum() / chosen.sum().clamp_min(1)
        figures = {"learned": share} if self.least else {}
        return TermLoss(apart.sum(), chosen.sum(), figures)

    def sure(self, view: StepView, log_p: Tensor) -> Tensor:
        """Where the mean model is sure enough to be learned from: batch x positions, bool."""
        gold = view.task.gold(view.batch)
        right = torch.where(gold >= 0, gold, log_p.argmax(-1))
        return log_p.gather(-1, right[..., None])[..., 0].exp() >= self.least

    @torch.no_grad()
    def follow(self, model: nn.Module, step: int) -> None:
        """Take in the weights of this step, if they are not in the mean yet."""
        if step and step <= int(self.followed):
            return
        self.followed.fill_(step)
        kept = min(self.decay, step / (step + 10))
        for mean, own in zip(self.mean.parameters(), model.parameters(), strict=True):
            mean.lerp_(own, 1 - kept)
        for mean, own in zip(self.mean.buffers(), model.buffers(), strict=True):
            mean.copy_(own)

    def _of_maps(self, view: StepView, site: str, taught: Tensor) -> Tensor:
        """KL from the taught map, the mean over heads and rows; 0 where there is gold: batch."""
        target = view.batch.target
        weights = as_shares(taught.float()).exp()  # batch x heads x queries x keys
        log_map = as_shares(view.log_map(site).float())
        apart = (cross_entropy(log_map, weights) - entropy(weights)).mean(1)  # batch x queries
        rows = target.row_mask & ~target.query_mask.any(1, keepdim=True)
        return (apart * rows).sum(1) / rows.sum(1).clamp_min(1)
