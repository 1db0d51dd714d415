"""`attnlab.Attention` in a model of anyone's."""

from __future__ import annotations

import doctest
import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn

from attnlab.attention import public
from attnlab.attention.mask import Mask
from attnlab.attention.probes import Probe
from attnlab.attention.public import Attention
from attnlab.attention.taps import Intervention, Tap, sites
from attnlab.errors import UserError
from tests.attention.mechanisms import NAMED, named


def test_examples_of_the_documentation() -> None:
    assert doctest.testmod(public).failed == 0


@pytest.mark.parametrize("name", NAMED)
def test_every_mechanism_is_that_of_the_command_line(name: str) -> None:
    attention = Attention(name, dim=16)
    assert attention.config == named(name)
    x = torch.randn(2, 5, 16)
    assert attention(x).shape == (2, 5, attention.output_dim)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"heads": 2}, {"kind": "multi", "count": 2}),
        ({"heads": "multi_query"}, {"kind": "multi_query", "count": 4}),
        ({"heads": {"kind": "grouped_query", "groups": 1}}, {"groups": 1, "count": 4}),
    ],
)
def test_heads_by_number_name_or_settings(changes: dict, expected: dict) -> None:
    heads = Attention("additive", dim=16, **changes).config.heads
    assert {key: getattr(heads, key) for key in expected} == expected


def test_parts_by_name_and_settings() -> None:
    config = Attention(
        "additive", dim=16, normalizer={"kind": "entmax", "alpha": 1.3}, score={"hidden": 5}
    ).config
    assert (config.normalizer.alpha, config.score.kind, config.score.hidden) == (1.3, "additive", 5)


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        ("addtive", {}, "did you mean 'additive'?"),
        ("additive", {"normalizer": "sparsmax"}, "did you mean 'sparsemax'?"),
        ("entmax", {"normalizer": {"alfa": 1.3}}, "attention.normalizer.alfa: unknown key"),
        ("additive", {"position": "rope"}, "allowed: score=dot"),
        ("additive", {"kernel": "sdpa"}, "kernel 'sdpa' cannot serve"),
        ("multihead", {"heads": 5}, "does not divide the query's width 16"),
    ],
)
def test_mistakes_say_what_would_be_right(name: str, changes: dict, expected: str) -> None:
    with pytest.raises(UserError) as raised:
        Attention(name, dim=16, **changes)
    assert expected in str(raised.value)


def test_masks_in_the_words_of_torch() -> None:
    torch.manual_seed(0)
    attention, x = Attention("multihead", dim=16), torch.randn(2, 5, 16)
    padding = torch.arange(5) >= torch.tensor([[5], [3]])
    keep = torch.rand(5, 5) > 0.3
    expected = Mask(keys=~padding, causal=True, custom=keep[None, None])
    same = [
        attention(x, mask=keep, causal=True, key_padding_mask=padding),
        attention(x, mask=keep.expand(2, 5, 5), causal=True, key_padding_mask=padding),
        attention(x, mask=Mask(custom=keep[None, None]), causal=True, key_padding_mask=padding),
    ]
    for context in same:
        torch.testing.assert_close(context, attention(x, x, x, expected))
    weights = attention.weights(x, mask=keep, causal=True, key_padding_mask=padding)
    torch.testing.assert_close(weights, attention.weights(x, x, expected))
    logs = attention.log_weights(x, mask=keep, causal=True, key_padding_mask=padding)
    torch.testing.assert_close(logs.exp(), weights)
    for wrong in ({"mask": torch.zeros(5, 5)}, {"key_padding_mask": torch.zeros(2, 5)}):
        with pytest.raises(UserError, match="needs booleans"):
            attention(x, **wrong)


def test_steps_with_a_state_equal_the_whole() -> None:
    attention, x = Attention("rope", dim=16), torch.randn(2, 5, 16)
    state = attention.start(None, None)
    steps = [attention(step, state=state, causal=True) for step in x.split(1, dim=1)]
    torch.testing.assert_close(torch.cat(steps, 1), attention(x, causal=True))


class _Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Attention("additive", dim=8, heads=2) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = x + layer(x)
        return x


def test_probes_find_it_by_its_path() -> None:
    model, x = _Model(), torch.randn(2, 4, 8)
    assert list(sites(model)) == ["layers.0", "layers.1"]
    with Tap(model, "layers.1/heads=mean") as tap, Probe(model, ["layers.0"]) as probe:
        plain = model(x)
    assert tap.weights().shape == (2, 1, 4, 4)
    torch.testing.assert_close(probe.maps()["layers.0"], model.layers[0].weights(x))
    with Intervention(model, "layers.-1", lambda weights, allowed: weights * 0):
        assert not torch.allclose(model(x), plain)


def test_a_name_starts_no_hydra() -> None:
    code = (
        "import sys; from attnlab.attention.public import Attention; "
        "Attention('additive', dim=8, heads=2); sys.exit('hydra' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
