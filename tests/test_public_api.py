"""`import attnlab`: what it offers, how it is called, and how fast it is there."""

from __future__ import annotations

import doctest
import inspect
import json
import subprocess
import sys

import pytest

import attnlab

# A change of these lines is a change for every user.
SIGNATURES = {
    "Attention": (
        "(mechanism: 'str' = 'multihead', *, dim: 'int', heads: 'int | Part | None' = None, "
        "score: 'Part | None' = None, normalizer: 'Part | None' = None, "
        "structure: 'Part | None' = None, position: 'Part | None' = None, "
        "key_dim: 'int | None' = None, value_dim: 'int | None' = None, "
        "output_dim: 'int | None' = None, dropout: 'float | None' = None, kernel: 'str' = 'auto', "
        "max_length: 'int' = 1024, "
        "role: \"Literal['self', 'cross', 'pooling']\" = 'self') -> 'None'"
    ),
    "TrainedRun": "(run: 'Run') -> 'None'",
    "load": "(run: 'str | Path' = 'latest', *, trust: 'bool' = False) -> 'TrainedRun'",
    "register": "(slot: 'str', kind: 'str') -> 'Callable[[Implementation], Implementation]'",
    "train": "(overrides: 'str | Sequence[str]' = ()) -> 'TrainedRun'",
    "watch": (
        "(model: 'nn.Module', *, layers: 'Layers | None' = None, "
        "heads: 'int | Sequence[int] | None' = None, rows: 'Rows | None' = None, "
        "maps: 'bool' = True, statistics: 'bool' = False, "
        "replace: 'Mapping[str, Replacement] | None' = None) -> 'Watch'"
    ),
}
# What `attnlab.load(...)` gives.
TRAINED_RUN = {
    "evaluate": "(self, *changes: 'str', split: 'Split' = 'test') -> 'dict[str, Any]'",
    "explain": (
        "(self, inputs: 'Value | Sequence[Value]' = 'test', "
        "methods: 'Sequence[Method] | None' = None, *, limit: 'int | None' = None) "
        "-> 'list[Explanation]'"
    ),
    "predict": (
        "(self, inputs: 'Value | Sequence[Value]', n_best: 'int' = 1, *, "
        "limit: 'int | None' = None) -> 'PredictedAnswers'"
    ),
    "show": "(self) -> 'None'",
}
TRAINED_RUN_READ = ("config", "device", "figures", "folder", "learner", "model", "prepared", "task")
ANSWER = ("text", "score", "map", "rows", "keys", "others", "show")
# What `attnlab.watch(...)` yields.
WATCH = {
    "clear": "(self) -> 'None'",
    "loss": (
        "(self, target: 'Tensor | TargetBatch', site: 'str', kind: 'str' = 'cross_entropy', "
        "**settings: 'Any') -> 'Tensor'"
    ),
    "show": (
        "(self, site: 'str | None' = None, example: 'int' = 0, *, "
        "queries: 'Sequence[str] | None' = None, keys: 'Sequence[str] | None' = None) -> 'Picture'"
    ),
    "steps": "(self, site: 'str') -> 'list[Tensor]'",
}
READ = ("maps", "roles", "rows", "statistics")


def test_the_import_is_fast_and_brings_no_torch() -> None:
    code = (
        "import json, sys, time; began = time.perf_counter(); import attnlab; "
        "took = time.perf_counter() - began; attnlab.__version__, dir(attnlab); "
        "print(json.dumps([took, [m for m in ('torch', 'pydantic', 'hydra') if m in sys.modules]]))"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for _ in range(3)
    ]
    measured = [json.loads(run.stdout) for run in runs]
    assert min(took for took, _ in measured) < 0.2
    assert all(modules == [] for _, modules in measured)


def test_public_names() -> None:
    assert set(dir(attnlab)) == {"__version__", *SIGNATURES}
    assert set(attnlab.__all__) == set(dir(attnlab))


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures(name: str) -> None:
    public = getattr(attnlab, name)
    assert str(inspect.signature(public)) == SIGNATURES[name]
    assert inspect.getdoc(public)


def test_what_a_trained_run_has() -> None:
    from attnlab.stages.predictions import PredictedAnswer

    run = attnlab.TrainedRun
    assert {name for name in dir(run) if not name.startswith("_")} == {
        *TRAINED_RUN,
        *TRAINED_RUN_READ,
    }
    for name, signature in TRAINED_RUN.items():
        assert str(inspect.signature(getattr(run, name))) == signature
    assert all(inspect.getdoc(getattr(run, name)) for name in (*TRAINED_RUN, *TRAINED_RUN_READ))
    assert set(ANSWER) <= {*PredictedAnswer.__dataclass_fields__, *vars(PredictedAnswer)}


def test_what_a_watch_yields() -> None:
    from attnlab.watching import Watch

    names = {name for name in vars(Watch) if not name.startswith("_")}
    assert names - {"begin_pass", "see"} == {*WATCH, *READ}
    for name, signature in WATCH.items():
        assert str(inspect.signature(getattr(Watch, name))) == signature
    assert all(vars(Watch)[name].__doc__ for name in (*WATCH, *READ))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'wacth'"):
        attnlab.wacth  # noqa: B018
    with pytest.raises(ImportError):
        from attnlab import wacth  # noqa: F401


def test_examples_in_docstrings() -> None:
    for name in SIGNATURES:
        module = sys.modules[getattr(attnlab, name).__module__]
        assert doctest.testmod(module).failed == 0
