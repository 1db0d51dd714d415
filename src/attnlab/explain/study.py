"""`Study`: explains the first examples of a test split, then tests the map."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from attnlab.config.evaluation import Explain
from attnlab.data.batch import Batch, collate
from attnlab.data.codec import Item
from attnlab.data.example import Example
from attnlab.data.loader import Items
from attnlab.data.prepared import Prepared
from attnlab.explain.adversarial import other_model, train_adversary
from attnlab.explain.battery import Named, Report, battery
from attnlab.explain.findings import Explanations, Finding, UninformedMaps, with_rows
from attnlab.explain.methods import explained, methods
from attnlab.explain.methods.gradients import differentiable
from attnlab.explain.rankings import MEASURES
from attnlab.explain.subject import Subject
from attnlab.tasks.task import Task

MIB = 2**20
MAX_VARIANTS = 512  # variants of examples in one pass; more are no faster
MAX_BATCH = 64  # examples explained together
ORDERS = ("gradient_input", "leave_one_out")  # orders of erasure beside the map's
RANDOM_ORDERS = ("uniform", "random", "permuted")  # controls whose order is random

Step = Callable[[str], None]  # called with the name of each step as it begins


class Study:
    """A model and the examples that are explained, in batches that all tests share."""

    def __init__(
        self,
        model: nn.Module,
        task: Task,
        prepared: Prepared,
        settings: Explain,
        device: torch.device,
    ) -> None:
        self.model, self.task, self.device = model, task, device
        self.prepared, self.settings = prepared, settings
        self.examples = prepared.examples("test")[: settings.examples]
        self.items = [prepared.codec.encode(e, i) for i, e in enumerate(self.examples)]
        longest = max(self.items, key=lambda item: item.keys)
        self.bytes_each = bytes_per_example(self._subject([longest]))
        room = settings.memory * MIB // max(self.bytes_each, 1)
        self.at_once = min(max(room, 1), MAX_VARIANTS)
        # Every test compares explanations of one batch: the batches stay the same throughout.
        size = min(self.at_once, MAX_BATCH)
        self.parts = [self.items[i : i + size] for i in range(0, len(self.items), size)]
        self.subjects = [replace(self._subject(part), at_once=self.at_once) for part in self.parts]
        self.orders: list[Named] = []  # for each batch, further orders of erasure

    @property
    def estimate(self) -> str:
        """What explaining will cost, in one line."""
        keys = sum(item.keys for item in self.items) / len(self.items)
        named = self.settings.methods
        each = passes(named, round(keys), self.settings.samples, self.settings.steps)
        return (
            f"{len(self.items)} examples of {keys:.0f} units, {len(named)} methods: about "
            f"{each * len(self.items):,} forward passes, {self.at_once} at once, "
            f"{self.at_once * self.bytes_each / MIB:.0f} MiB beside the model"
        )

    def explanations(self, step: Step) -> Explanations:
        """Run every method on every batch; `step` is called with each method's name."""
        codec = self.prepared.codec
        explanations = Explanations(methods(self.settings), codec)
        uninformed = UninformedMaps.fit(self.prepared.examples("train"), codec)

        def timed(name: str, run: Callable[[], Tensor]) -> Tensor:
            step(name)
            started = time.monotonic()
            scores = run()
            seconds = time.monotonic() - started
            explanations.seconds[name] = explanations.seconds.get(name, 0.0) + seconds
            return scores

        for number, (subject, examples) in enumerate(self._batches()):
            target = subject.batch.target
            explanations.explain(subject, examples, target, timed)
            maps = uninformed.maps(target, examples, codec, seed=number)
            explanations.control(maps, target)
            self.orders.append(_orders(maps, subject))
        return explanations

    def report(self, explanations: Explanations, step: Step) -> Report:
        """Run every test of the map, and first the methods they need that were not asked for."""
        wanted = ["attention", *MEASURES]
        missing = [name for name in wanted if name not in self.settings.methods]
        extra = methods(self.settings.model_copy(update={"methods": missing}))
        scores: list[Named] = []
        for subject, named in zip(self.subjects, explanations.scores, strict=True):
            more = {name: explained(method, subject) for name, method in extra.items()}
            scores.append({**named, **more})
        orders = [
            {**controls, **{name: named[name].abs() for name in ORDERS}}
            for controls, named in zip(self.orders, scores, strict=True)
        ]
        return battery(self.subjects, scores, orders, self.settings.trust, step)

    def trained_adversary(self, fresh: nn.Module, step: Step) -> list[Finding]:
        """Train `fresh`, a new model of the same kind, to give the same answers by other maps."""
        step("adversarial training")
        batches = self._training_batches()
        settings = self.settings.trust.training
        train_adversary(self.task, self.model, fresh.to(self.device), batches, settings)
        return other_model(self.subjects, fresh)

    def _batches(self) -> Iterator[tuple[Subject, list[Example]]]:
        for subject, part in zip(self.subjects, self.parts, strict=True):
            yield subject, [self.examples[item.index] for item in part]

    def _training_batches(self) -> Iterator[Batch]:
        """Batches of random training examples, without end."""
        random = torch.Generator().manual_seed(0)
        items = Items(self.prepared.examples("train"), self.prepared.codec, kept=0)
        while True:
            drawn = torch.randint(len(items), (MAX_BATCH,), generator=random)
            yield collate([items[i] for i in drawn.tolist()]).to(self.device)

    def _subject(self, items: Sequence[Item]) -> Subject:
        return Subject.of(self.model, self.task, collate(items).to(self.device))


def _orders(maps: Named, subject: Subject) -> Named:
    """Controls as orders of erasure; the oracle only where there is gold."""
    rows = subject.decisions.shape[1]
    gold = bool(subject.batch.target.rows().any())
    return {
        name: with_rows(each, rows)
        for name, each in maps.items()
        if name not in RANDOM_ORDERS and (gold or name != "oracle")
    }


def bytes_per_example(subject: Subject) -> int:
    """Memory that a forward pass of one example keeps for its gradients, without the model.

    Measured on the longest example, with every unit of the input under observation.
    """
    longest = subject.keys.sum(1).argmax()
    one = subject.select(longest[None])
    parameters = {p.untyped_storage().data_ptr() for p in subject.model.parameters()}
    kept: dict[int, int] = {}

    def count(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    def same(tensor: Tensor) -> Tensor:
        return tensor

    with differentiable(), torch.autograd.graph.saved_tensors_hooks(count, same):
        one.evidence(one.embedded.values.detach().requires_grad_())
    return sum(kept.values())


def passes(methods: Sequence[str], keys: int, samples: int, steps: int) -> int:
    """Forward passes for one example with so many units."""
    costs = {
        "integrated_gradients": steps,
        "leave_one_out": keys + 1,
        "occlusion": keys + 1,
        "lime": samples,
        "shap": samples + 2,
    }
    return sum(costs.get(name, 1) for name in methods)
