"""Digits on a cluttered canvas, asked about in four ways: what, where, which pixels, and looked at.

One picture serves four tasks, so that the same attention can be compared between them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from attnlab.data.example import Example, Value
from attnlab.data.generators.generator import Generator, Random, Split
from attnlab.data.generators.scenes import Digit, Painter, Scene
from attnlab.data.target import AttentionTarget
from attnlab.data.targets.images import box_target, fixation_target, mask_target

Asked = tuple[Value, AttentionTarget]


@dataclass(frozen=True, kw_only=True)
class Canvas(Generator):
    """A picture in; the splits share no digit image."""

    task_view: str
    size: int
    min_digits: int
    max_digits: int
    clutter: int
    noise: float
    observers: int
    blur: float

    def make(self, name: str, split: Split, random: Random) -> Example:
        count = int(random.integers(self.min_digits, self.max_digits, endpoint=True))
        scene = self.painter.scene(count, split, random)
        views: dict[str, Callable[[Scene, Random], Asked]] = {
            "classify": self._classify,
            "locate": self._locate,
            "segment": self._segment,
            "attend": self._attend,
        }
        answer, target = views[self.task_view](scene, random)
        return Example(
            id=name,
            inputs={"image": scene.image},
            answer=answer,
            target=target,
            looks_at="image",
            meta={"digits": [[digit.label, *digit.box] for digit in scene.digits]},
        )

    @cached_property
    def painter(self) -> Painter:
        return Painter(self.size, self.clutter, self.noise)

    def _classify(self, scene: Scene, random: Random) -> Asked:
        """The highest digit there is; the target is its box."""
        highest = max(scene.digits, key=lambda digit: digit.label)
        return str(highest.label), box_target([[highest.box]], self.size, self.size)

    def _locate(self, scene: Scene, random: Random) -> Asked:
        """The boxes with their digits, in reading order; the target of each is its own box."""
        boxes = np.array([[*d.box, d.label] for d in scene.digits], np.float32)  # digits x 5
        return boxes, box_target([[d.box] for d in scene.digits], self.size, self.size)

    def _segment(self, scene: Scene, random: Random) -> Asked:
        """For each pixel 0, or 1 + the digit that it belongs to; the target is all ink."""
        classes = np.zeros((self.size, self.size), np.float32)  # height x width
        for digit in scene.digits:
            classes[digit.ink] = digit.label + 1
        return classes, mask_target((classes > 0)[None])

    def _attend(self, scene: Scene, random: Random) -> Asked:
        """Where observers look: each one once at every digit, somewhere on its ink."""
        observers = [
            [_point_on(digit, random) for digit in scene.digits] for _ in range(self.observers)
        ]
        return None, fixation_target(observers, self.size, self.size, self.blur)


def _point_on(digit: Digit, random: Random) -> tuple[float, float]:
    """A point on the digit: column and row, within a pixel of its ink."""
    rows, columns = np.nonzero(digit.ink)
    pixel = int(random.integers(len(rows)))
    right, down = random.random(2)
    return float(columns[pixel] + right), float(rows[pixel] + down)
