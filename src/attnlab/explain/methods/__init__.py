"""Explanations by name: how much each unit of the input counts for each decision."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor

from attnlab.config.evaluation import Explain
from attnlab.explain.methods import gradients, maps, perturbation
from attnlab.explain.subject import Subject

Method = Callable[[Subject], Tensor]  # -> batch x queries x keys


def methods(settings: Explain) -> dict[str, Method]:
    """The methods that the settings name, in their order."""
    known: dict[str, Method] = {
        "attention": maps.attention,
        "rollout": maps.rollout,
        "flow": maps.flow,
        "chefer": maps.chefer,
        "gmar": maps.gmar,
        "gradient_input": gradients.gradient_input,
        "integrated_gradients": partial(gradients.integrated_gradients, steps=settings.steps),
        "leave_one_out": perturbation.leave_one_out,
        "occlusion": partial(perturbation.occlusion, reach=settings.reach),
        "lime": partial(perturbation.lime, samples=settings.samples),
        "shap": partial(perturbation.shap, samples=settings.samples),
    }
    return {name: known[name] for name in settings.methods}


def explained(method: Method, subject: Subject) -> Tensor:
    """Scores of the input's units for each decision: batch x decisions x keys, 0 in the padding.

    Scores may be negative: such a unit speaks against the answer.
    """
    return method(subject).detach().float() * subject.cells
