"""Does the map show what was learned? Shuffle the weights, from the answer down to the input.

Model parameter randomisation (Adebayo et al. 2018): a map that stays as it was shows the input,
not the model.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from attnlab.explain.agreement import interval_of
from attnlab.explain.methods.maps import attention
from attnlab.explain.subject import Subject
from attnlab.explain.trust.findings import Finding
from attnlab.metrics.correlation import spearman

Cascade = list[tuple[str, float]]  # after each part: its name, and how alike the maps still are


def randomisation(subjects: Sequence[Subject]) -> tuple[list[Finding], Cascade]:
    """How alike the maps are before and after, over all examples, and part by part."""
    shuffled = copy.deepcopy(subjects[0].model)
    cascade: Cascade = []
    alike: list[float] = []
    undefined = 0
    for name in _shuffle_parts(shuffled):
        rows = [likeness(subject, shuffled) for subject in subjects]
        alike = [value for values, _ in rows for value in values]
        undefined = sum(missing for _, missing in rows)
        cascade.append((name, interval_of(alike).mean))
    value = interval_of(alike)
    says = (
        "it shows the input more than what was learned"
        if value.mean > 0.5
        else "it shows what was learned"
    )
    finding = Finding(
        "shuffled weights",
        "rank correlation",
        value,
        f"With all weights shuffled, the map still goes with the one before by {value.mean:.2f} "
        f"(rank correlation): {says}.",
        undefined=undefined,
    )
    return [finding], cascade


@torch.no_grad()
def likeness(subject: Subject, other: nn.Module) -> tuple[list[float], int]:
    """Spearman's correlation of the maps of two models for the same answers, by example.

    And for how many decisions there is none, one map being constant.
    """
    again = replace(subject, model=other)
    values = spearman(attention(subject), attention(again), subject.cells)  # batch x queries
    defined = subject.decisions & ~values.isnan()
    total = torch.where(defined, values, 0.0).sum(1) / defined.sum(1)
    return total.tolist(), int((subject.decisions & values.isnan()).sum())


def _shuffle_parts(model: nn.Module) -> Iterator[str]:
    """Shuffle one part after the other, the one nearest to the answer first; names them."""
    random = torch.Generator().manual_seed(0)
    parts: dict[str, list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        parts.setdefault(_part(name), []).append(parameter)
    for name in reversed(parts):
        with torch.no_grad():
            for parameter in parts[name]:
                order = torch.randperm(parameter.numel(), generator=random).to(parameter.device)
                parameter.copy_(parameter.flatten()[order].view_as(parameter))
        yield name


def _part(parameter: str) -> str:
    """`reader.encoder.rnn.weight` belongs to `reader.encoder`, `output.bias` to `output`."""
    names = parameter.split(".")
    return ".".join(names[:2]) if names[0] == "reader" else names[0]
