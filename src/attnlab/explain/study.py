"""`Study`: the first examples of a test split, explained and put to the tests."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from attnlab.config.explain import Explain
from attnlab.data.batch import Batch, collate
from attnlab.data.codec import Item
from attnlab.data.example import Example
from attnlab.data.items import Items
from attnlab.data.prepared import Prepared
from attnlab.explain.agreement import fitted
from attnlab.explain.estimate import MIB, bytes_per_example, passes
from attnlab.explain.explanations import Explanations
from attnlab.explain.methods import explained, methods
from attnlab.explain.subject import Subject
from attnlab.explain.trust.adversarial_training import other_model, train_adversary
from attnlab.explain.trust.battery import Named, Report, battery
from attnlab.explain.trust.findings import Finding
from attnlab.explain.trust.importance import JUDGES
from attnlab.explain.trust.known import Known
from attnlab.tasks.task import Task

MOST_AT_ONCE = 512  # variants of examples in one pass; more do not make it faster
MOST_IN_BATCH = 64  # examples explained together
ORDERS = ("gradient_input", "leave_one_out")  # beside the map, what erasure follows
NO_CONTROL = ("uniform", "random", "permuted")  # as orders all the same: random

Step = Callable[[str], None]  # told what is being done


class Study:
    """A model, examples, and what has been made of them so far."""

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
        self.at_once = min(max(room, 1), MOST_AT_ONCE)
        # Explanations of one batch are compared by every test: the same batches throughout.
        size = min(self.at_once, MOST_IN_BATCH)
        self.parts = [self.items[i : i + size] for i in range(0, len(self.items), size)]
        self.subjects = [replace(self._subject(part), at_once=self.at_once) for part in self.parts]
        self.orders: list[Named] = []  # for each batch, what erasure follows beside the map

    @property
    def estimate(self) -> str:
        """What it will take, in one line."""
        keys = sum(item.keys for item in self.items) / len(self.items)
        named = self.settings.methods
        each = passes(named, round(keys), self.settings.samples, self.settings.steps)
        return (
            f"{len(self.items)} examples of {keys:.0f} units, {len(named)} methods: about "
            f"{each * len(self.items):,} forward passes, {self.at_once} at once, "
            f"{self.at_once * self.bytes_each / MIB:.0f} MiB beside the model"
        )

    def explanations(self, step: Step) -> Explanations:
        """Every method on every batch; `step` is told each method as it begins."""
        codec = self.prepared.codec
        found = Explanations(methods(self.settings), codec)
        known = Known.fit(self.prepared.examples("train"), codec)

        def timed(name: str, run: Callable[[], Tensor]) -> Tensor:
            step(name)
            started = time.monotonic()
            scores = run()
            found.seconds[name] = found.seconds.get(name, 0.0) + time.monotonic() - started
            return scores

        for number, (subject, examples) in enumerate(self._batches()):
            target = subject.batch.target
            found.explain(subject, examples, target, timed)
            maps = known.maps(target, examples, codec, seed=number)
            found.control(maps, target)
            self.orders.append(_orders(maps, subject))
        return found

    def report(self, explanations: Explanations, step: Step) -> Report:
        """Every test of the map; what it needs and was not asked for is explained now."""
        wanted = ["attention", *JUDGES]
        missing = [name for name in wanted if name not in self.settings.methods]
        extra = methods(self.settings.model_copy(update={"methods": missing}))
        scores: list[Named] = []
        for subject, named in zip(self.subjects, explanations.scores, strict=True):
            more = {name: explained(method, subject) for name, method in extra.items()}
            scores.append({**named, **more})
        orders = [
            {**known, **{name: named[name].abs() for name in ORDERS}}
            for known, named in zip(self.orders, scores, strict=True)
        ]
        return battery(self.subjects, scores, orders, self.settings.trust, step)

    def trained_adversary(self, fresh: nn.Module, step: Step) -> list[Finding]:
        """Train `fresh`, a new model of the same kind, to look elsewhere; see how well it does."""
        step("adversarial training")
        batches = self._training_batches()
        settings = self.settings.trust.training
        train_adversary(self.task, self.model, fresh.to(self.device), batches, settings)
        return other_model(self.subjects, fresh)

    def _batches(self) -> Iterator[tuple[Subject, list[Example]]]:
        for subject, part in zip(self.subjects, self.parts, strict=True):
            yield subject, [self.examples[item.index] for item in part]

    def _training_batches(self) -> Iterator[Batch]:
        """Examples of the training split at random, without end."""
        random = torch.Generator().manual_seed(0)
        items = Items(self.prepared.examples("train"), self.prepared.codec, kept=0)
        while True:
            drawn = torch.randint(len(items), (MOST_IN_BATCH,), generator=random)
            yield collate([items[i] for i in drawn.tolist()]).to(self.device)

    def _subject(self, items: Sequence[Item]) -> Subject:
        return Subject.of(self.model, self.task, collate(items).to(self.device))


def _orders(maps: Named, subject: Subject) -> Named:
    """The controls that say something as an order; gold only where there is some."""
    rows = subject.decisions.shape[1]
    gold = bool(subject.batch.target.rows().any())
    return {
        name: fitted(each, rows)
        for name, each in maps.items()
        if name not in NO_CONTROL and (gold or name != "oracle")
    }
