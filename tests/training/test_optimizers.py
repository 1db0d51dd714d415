"""Every optimizer learns and goes on from its state; what decays and what does not."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import nn

from attnlab.attention.mechanism import Attention
from attnlab.config.attention import AttentionConfig
from attnlab.config.compose import compose, config_dir, load, resolve
from attnlab.config.trainer import Callback, Optimizer
from attnlab.errors import ConfigError
from attnlab.training.optimizers import (
    cosine,
    cycle_ends,
    cycles,
    kinds_of_parameters,
    parameter_groups,
)
from tests.models.building import mechanisms

CHOICES = sorted(path.stem for path in (config_dir() / "trainer" / "optimizer").glob("*.yaml"))
EMBEDDED = nn.Sequential(nn.Embedding(7, 8), nn.Linear(8, 8), nn.LayerNorm(8), nn.Linear(8, 1))


def test_every_kind_has_its_yaml() -> None:
    assert set(CHOICES) == set(Optimizer.kinds())
    folder = config_dir() / "trainer" / "callbacks"
    assert {path.stem for path in folder.glob("*.yaml")} == set(Callback.kinds())


def optimizer_of(choice: str, model: nn.Module) -> Any:
    config, _ = load([f"trainer/optimizer={choice}"])
    settings = config.trainer.optimizer
    return settings.build(parameter_groups(model, settings.lr, settings.weight_decay), fused=False)


def step(model: nn.Module, optimizer: Any, seed: int) -> float:
    generator = torch.Generator().manual_seed(seed)
    words = torch.randint(7, (16,), generator=generator)
    loss = (model(words).squeeze(-1) - words.float() / 7).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


@pytest.mark.parametrize("choice", CHOICES)
def test_it_learns_and_goes_on_from_its_state(choice: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(7, 8), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = optimizer_of(choice, model)
    losses = [step(model, optimizer, seed) for seed in range(60)]
    assert sum(losses[-5:]) < sum(losses[:5])
    other = nn.Sequential(nn.Embedding(7, 8), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1))
    resumed = optimizer_of(choice, other)
    resumed.load_state_dict(deepcopy(optimizer.state_dict()))
    other.load_state_dict(model.state_dict())
    for group in (*optimizer.param_groups, *resumed.param_groups):
        group["lr"] = 1e-3  # as a schedule does
    for seed in range(3):
        assert step(model, optimizer, seed) == step(other, resumed, seed)


def test_matrices_and_embeddings_decay_and_nothing_else() -> None:
    kinds = list(kinds_of_parameters(EMBEDDED).values())
    vectors = ["vector", "vector", "vector"]
    assert kinds == ["embedding", "matrix", *vectors, "matrix", "vector"]
    groups = parameter_groups(EMBEDDED, 1.0, 0.1)
    assert [(g["kind"], g["weight_decay"]) for g in groups] == [
        ("matrix", 0.1),
        ("embedding", 0.1),
        ("vector", 0.0),
    ]


@pytest.mark.parametrize("mechanism", mechanisms())
def test_numbers_of_a_mechanism_that_are_no_matrices_never_decay(mechanism: str) -> None:
    plain = resolve(compose(["~experiment", f"attention={mechanism}"]))
    config = AttentionConfig.model_validate(plain["attention"])
    widths = dict.fromkeys(("query_dim", "key_dim", "value_dim", "output_dim"), 16)
    attention = Attention(config, **widths, site="encoder.self.0")
    kinds = kinds_of_parameters(attention)
    for name, parameter in attention.named_parameters():
        one_dimension = sum(size > 1 for size in parameter.shape) <= 1
        if "bias" in name or (one_dimension and not name.endswith("weight")):
            assert kinds[parameter] == "vector", name


def test_cycles_fall_from_the_height_to_the_floor_each() -> None:
    assert cycle_ends(22, 2, 4) == [7, 12, 17, 22]
    factor = cycles(22, warmup_steps=2, count=4, floor=0.1)
    found = [factor(step) for step in range(22)]
    assert found[0] == 0.5 and found[1] == 1.0
    for first in (2, 7, 12, 17):
        assert found[first] == 1.0
        falling = found[first : first + 5]
        assert falling == sorted(falling, reverse=True) and falling[-1] < 0.3
    one = cosine(22, warmup_steps=2, floor=0.1)
    assert cycles(22, warmup_steps=2, count=1, floor=0.1)(13) == one(13)


def test_snapshots_need_cycles() -> None:
    with pytest.raises(ConfigError, match=r"'cosine' has no cycles .*try: trainer/schedule=cycles"):
        load(["experiment=reviews", "trainer/callbacks=snapshots"])
