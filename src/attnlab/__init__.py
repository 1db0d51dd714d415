"""attnlab: swap the attention, predict the attention, check the attention.

    attnlab.load(RUN)           a trained run: predict, evaluate, explain
    attnlab.train(overrides)    train a model in this process
    attnlab.Attention(name)     a mechanism as a module for any model
    attnlab.watch(model)        maps, statistics, losses and interventions on any model
    attnlab.register            a decorator for parts of one's own

Importing the package imports no torch: what is named here is imported where it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from attnlab.attention.public import Attention
    from attnlab.config.section import register
    from attnlab.stages.python_api import TrainedRun, load, train
    from attnlab.watching import watch

__version__ = "0.1.0"

# Public name -> where it is defined.
_PUBLIC = {
    "Attention": "attnlab.attention.public",
    "TrainedRun": "attnlab.stages.python_api",
    "load": "attnlab.stages.python_api",
    "register": "attnlab.config.section",
    "train": "attnlab.stages.python_api",
    "watch": "attnlab.watching",
}

__all__ = ["Attention", "TrainedRun", "__version__", "load", "register", "train", "watch"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'attnlab' has no attribute '{name}'")
    value = globals()[name] = getattr(importlib.import_module(_PUBLIC[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
