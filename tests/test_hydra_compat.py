"""Tests of what is used of Hydra and OmegaConf beside their public interfaces."""

from __future__ import annotations

from pathlib import Path

import hydra
import pytest
import yaml
from hydra._internal import defaults_list
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra.errors import HydraException
from omegaconf import OmegaConf

from attnlab import hydra_compat
from attnlab.config import compose


def test_omegaconf_loader() -> None:
    loader = hydra_compat.omegaconf_loader("rate: 1e-3")
    assert loader.construct_document(loader.get_single_node()) == {"rate": 0.001}
    twice = hydra_compat.omegaconf_loader("a: 1\na: 2")
    with pytest.raises(yaml.YAMLError, match="duplicate key"):
        twice.construct_document(twice.get_single_node())


def test_hydra_arguments() -> None:
    given = hydra_compat.hydra_arguments().parse_args(["-m", "seed=0,1", "model=hf"])
    assert given.multirun
    assert not given.help
    assert given.overrides == ["seed=0,1", "model=hf"]


def test_quickened_hydra_composes_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Also where a default refers to a choice that is made elsewhere, and a map to another."""
    files = {
        "config": "defaults: [_self_, task: one, model: '${task}', last]\n"
        "of: {a: {x: 1, y: [1, 2]}, b: {z: 1}, none: null, kept: 3, gone: {x: 1}}\n"
        "same: ${of.a}",
        "last": "of: {a: {x: 2, y: [3]}, b: null, none: {q: 1}, kept: '???', gone: 1, new: '???'}\n"
        "same: {x: 9, w: '${of.kept}'}\n"
        "other: ${of.a}",
        "task/one": "name: first",
        "task/two": "name: second",
        "model/one": "width: 1",
        "model/two": "width: 2",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.yaml").write_text(text)
    commands = [
        (["task=two", "task.name=other", "+new=1"], tmp_path),
        ([], tmp_path),
        (["experiment=reviews", "seed=3", "trainer.max_epochs=9"], None),
        (["experiment=reviews"], None),
    ]

    def composed() -> list[str]:
        configs = [compose.compose(words, folder) for words, folder in commands]
        return [OmegaConf.to_yaml(config) for config in configs]

    quick = composed()
    assert [yaml.safe_load(each)["model"]["width"] for each in quick[:2]] == [2, 1]
    assert yaml.safe_load(quick[0])["same"] == {"x": 9, "y": [3], "w": "${of.kept}"}
    assert quick == composed(), "what was kept of files is as it was"
    (tmp_path / "model/one.yaml").write_text("width: 17")
    assert yaml.safe_load(composed()[1])["model"]["width"] == 17
    quick = composed()
    for module, name in (
        (defaults_list, "_create_interpolation_map"),
        (ConfigRepository, "load_config"),
        (ConfigLoaderImpl, "_embed_result_config"),
    ):
        own = getattr(module, name).__wrapped__
        own = staticmethod(own) if module is ConfigLoaderImpl else own
        monkeypatch.setattr(module, name, own)
    monkeypatch.setattr(compose, "hydra_compose", hydra.compose)
    assert composed() == quick


@pytest.mark.parametrize("wrong", ["attention=dott", "seed.of=1"])
def test_say_hydra_errors(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    monkeypatch.setattr(ConfigLoaderImpl, "load_configuration", ConfigLoaderImpl.load_configuration)
    hydra_compat.say_hydra_errors(lambda error: f"{type(error).__name__} in our words")
    with pytest.raises(HydraException, match=r"^[A-Za-z]+Exception in our words$") as caught:
        compose.compose([wrong])
    assert caught.value.__cause__ is None


def test_hydra_sweep() -> None:
    assert hydra_compat.hydra_sweep(["seed=0,1", "a=[1,2]"]) == [
        ["seed=0", "a=[1,2]"],
        ["seed=1", "a=[1,2]"],
    ]
    with pytest.raises(HydraException):
        hydra_compat.hydra_sweep(["a=["])
