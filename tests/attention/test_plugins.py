"""A user's own score and normalizer, in a file of theirs, with no change to the package."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from attnlab.attention.mechanism import Attention
from attnlab.config.compose import load
from attnlab.config.section import SLOTS
from tests.commands import run

ROOT = Path(__file__).parents[2]
DOCUMENTED = (ROOT / "docs" / "mechanisms.md").read_text()


def _documented_plugin() -> str:
    """The example of the documentation: it is what is tested."""
    blocks = DOCUMENTED.split("```python\n")[1:]
    return next(b.split("```")[0] for b in blocks if "@register" in b)


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "my_attention.py").write_text(_documented_plugin())
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "plugins=[my_attention]"
    sys.modules.pop("my_attention", None)
    SLOTS["score"].choices.pop("gaussian", None)
    SLOTS["normalizer"].choices.pop("taylor", None)


OVERRIDES = [
    "attention=dot",
    "attention.score.kind=gaussian",
    "+attention.score.width=2.0",
    "attention.normalizer.kind=taylor",
]


def test_plugin_from_overrides(plugin: str) -> None:
    config, _ = load([plugin, *OVERRIDES])
    dims = dict.fromkeys(("query_dim", "key_dim", "value_dim"), 8)
    mechanism = Attention(config.attention, **dims, output_dim=None, site="decoder.cross.0")
    query, key = torch.randn(2, 3, 8), torch.randn(2, 5, 8)
    logits = -torch.cdist(query, key).square() / (2 * 2.0**2)
    raised = 1 + logits + logits.square() / 2
    expected = raised / raised.sum(-1, keepdim=True)
    torch.testing.assert_close(mechanism.weights(query, key)[:, 0], expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(mechanism(query, key, key), expected @ key, atol=1e-5, rtol=1e-4)


def test_plugin_from_the_command_line(plugin: str, tmp_path: Path) -> None:
    """As documented, word for word: the composed config names the plugin's settings."""
    documented = " ".join(DOCUMENTED.replace("\\\n", " ").split())
    assert " ".join(["python train.py", f"'{plugin}'", *OVERRIDES]) in documented
    arguments = [plugin, *OVERRIDES]
    command = [sys.executable, str(ROOT / "train.py"), *arguments, "--cfg", "job"]
    done = run(command, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "kind: gaussian" in done.stdout


def test_wrong_settings_of_a_plugin_are_told(plugin: str) -> None:
    from attnlab.errors import ConfigError

    with pytest.raises(ConfigError) as raised:
        load([plugin, "attention=dot", "attention.score.kind=gaussian"])
    assert "attention.score.width: missing" in str(raised.value)
