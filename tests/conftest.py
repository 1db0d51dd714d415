"""What holds for every test."""

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

# Before torch is imported: tests run side by side, and threads that wait for one another
# make all of them slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from hypothesis import settings

# Every process that a test starts would compile the project where compiled code is not kept.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# A first example may pay for an import or a cold cache: time says nothing about correctness.
settings.register_profile("project", deadline=None)
settings.load_profile("project")


# torch.manual_seed seeds GPUs as well; where there is none, it formats the stack at every call, to
# report it should the seed fail once a GPU is used: thousands of calls take a minute.
if not torch.cuda.is_available():
    torch.manual_seed = torch.default_generator.manual_seed

TESTS = Path(__file__).parent
# These files take longest. They begin first: the last one to begin would be waited for.
LONGEST = (
    "stages/test_dvc.py",
    "explain/test_battery.py",
    "training/test_resume_exactly.py",
    "stages/test_resume.py",
    "test_readme.py",
    "experiments/test_pretrained.py",
    "stages/test_trainers.py",
    "stages/test_compare.py",
    "report/test_explorer.py",
    "config/test_compose.py",
    "attention/test_combinations.py",
    "experiments/test_media.py",
    "stages/test_model_init.py",
    "report/test_explorer_run.py",
    "experiments/test_experiments.py",
    "stages/test_python_api.py",
    "stages/test_search.py",
    "test_extending.py",
    "stages/test_new.py",
    "stages/test_sweep.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, the others as they stand."""
    order = {TESTS / name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path, len(order)))


def pytest_collection_finish() -> None:
    """Leave what was imported out of every later garbage collection: a tenth of the time."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@pytest.fixture(autouse=True, scope="session")
def _settings_of_nobody(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests neither read nor write the settings of the user who runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATTNLAB_HOME", str(tmp_path_factory.mktemp("settings")))
        yield


@pytest.fixture
def forgotten_plugins() -> Iterator[None]:
    """What a test registers is gone after it, with the modules that did so."""
    from attnlab.config.section import SLOTS, load_kinds

    load_kinds()
    before = {name: set(slot.kinds()) for name, slot in SLOTS.items()}
    yield
    for name, slot in SLOTS.items():
        for added in slot.kinds().keys() - before[name]:
            sys.modules.pop(slot.kinds().pop(added).__module__, None)
